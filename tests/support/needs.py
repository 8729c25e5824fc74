"""What tests need beyond Python: where it is missing they are skipped, save in CI."""

import os
import shutil

import pytest


def need(program: str, how: str) -> str:
    """Give the path of a program.

    Args:
        program: its name.
        how: to get it.
    """
    if path := shutil.which(program):
        return path
    reason = f"{program} is missing: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
