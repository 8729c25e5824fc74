"""Root file systems of Debian, and the wheels that are installed in them, without a registry."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.needs import need

ROOT = Path(__file__).parents[2]
# Debian 13: the one that `python:3.13-slim-trixie` is made of.
SUITE = "trixie"
PYTHON = "3.13"
# Minutes on a slow mirror.
TIMEOUT = 900


def need_root() -> None:
    """Skip a test where it cannot mount or boot anything; fail in CI."""
    if os.geteuid() != 0:
        reason = "only root can mount a root file system: run as root"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def make_once(path: Path, make: Callable[[Path], None]) -> Path:
    """Return `path`, made by `make` unless an earlier test, worker or run has made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(path)
    return path


def make_root(target: Path, packages: tuple[str, ...], *options: str) -> None:
    """Install a small Debian with some packages into a directory."""
    mmdebstrap = need("mmdebstrap", "apt-get install mmdebstrap")
    run(
        mmdebstrap,
        "--variant=minbase",
        f"--include={','.join(packages)}",
        '--aptopt=Acquire::Languages "none"',
        *options,
        SUITE,
        str(target),
    )


def make_wheels(target: Path) -> None:
    """Download what the image installs, as pinned, and what its build needs."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(target))
    run(
        *pip,
        "--only-binary=:all:",
        f"--python-version={PYTHON}",
        "--require-hashes",
        f"--requirement={ROOT / 'deploy/requirements.txt'}",
    )
    run(*pip, "--no-deps", "setuptools")
    (target / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")


def run(*command: str, timeout: float = TIMEOUT) -> str:
    """Return what a command prints; a failure shows what it said."""
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout
