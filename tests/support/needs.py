"""What tests need beyond Python: where it is missing they are skipped, save in CI."""

import os
import shutil

import pytest


def need(program: str, how: str, path: str | None = None) -> str:
    """Return the path of a program, or skip the test.

    Args:
        program: its name.
        how: to get it.
        path: where to look for it, if not on PATH.
    """
    if found := shutil.which(program, path=path):
        return found
    reason = f"{program} is missing: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
