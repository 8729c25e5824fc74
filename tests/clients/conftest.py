"""A sandbox for the clients, and what a call to it needs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from clients.calls import Call
from support.sandbox_process import COMMAND, Printed


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """Yield a sandbox: the real service in a process of its own."""
    with subprocess.Popen(
        [COMMAND, "sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path_factory.mktemp("sandbox"),
        # One user has a card refused by way of each client.
        env={**os.environ, "REFUSALS_PER_USER": "1000"},
    ) as process:
        try:
            yield Printed(process)
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def document(sandbox: Printed) -> str:
    """Return the address of the served document."""
    return sandbox.value("Explorer").replace("/ui/", "/swagger.json")


@pytest.fixture(scope="session")
def good(sandbox: Printed) -> Call:
    """Return a call that succeeds, once and again: the token is the user's latest."""
    result = (sandbox.value(name) for name in ("Access key", "User JWT", "Fresh token"))
    return Call(*result)
