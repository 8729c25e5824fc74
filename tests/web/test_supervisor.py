"""The parent of several workers: what it does when they exit, hang, or cannot start."""

import contextlib
import errno
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import httpx
import pytest
from support.server_process import ServerProcess, serving
from support.serving import Caller, Partner

from app.config import Settings
from app.sandbox.standin.server import StandIn

# With pauses that are short enough for a test.
IMPATIENT = """
from app.cli import main
from app.web import supervisor

supervisor.PAUSES = (0.0, 0.1, 0.2)
main()
"""
CRASHING = """
from app import service

def crash(*_, **__):
    raise {raised}

service.create_app = crash
"""
# From the time that a file exists, a worker hangs after 5 seconds: a start may take longer.
WATCHFUL = """
import pathlib, sys
from app.cli import main
from app.web import supervisor

order, check = pathlib.Path({order!r}), supervisor.Supervisor._check_beat

def checking(self, child):
    if order.exists():
        supervisor.MAX_SILENT_TICKS = 5
    check(self, child)

supervisor.Supervisor._check_beat = checking
main()
"""
# As on a machine with a read-only root and no folder for temporary files.
FOLDERLESS = """
import tempfile
from app.cli import main

def missing():
    raise FileNotFoundError("no usable temporary directory")

tempfile.gettempdir = tempfile._get_default_tempdir = missing
main()
"""

# Successors find no room for their processes at first, more often than a parent tries.
CROWDED = """
import errno, os
from app.cli import main
from app.web import supervisor

supervisor.PAUSES = (0.0, 0.1, 0.2)
fork, calls = os.fork, []

def fork_or_fail():
    calls.append(1)
    if 2 < len(calls) < 9:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()

os.fork = fork_or_fail
main()
"""


def program(folder: Path, text: str) -> tuple[str | Path, ...]:
    path = folder / "program.py"
    path.write_text(text)
    return sys.executable, path


def test_worker_that_is_killed_is_replaced(
    settings: Settings, partner: Partner, standin: StandIn, tmp_path: Path
) -> None:
    """At once, without a temporary folder; its counters are kept."""
    with serving(
        settings,
        tmp_path / "log",
        *("--workers", "2"),
        program=program(tmp_path, FOLDERLESS),
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "swept"),
    ) as server:
        for number in range(6):
            with Caller(server.url, partner) as caller:
                assert caller.save(standin.new_token(), f"user-{number}").status_code == 200
        for dead in sorted(server.workers()):
            os.kill(dead, signal.SIGKILL)
            server.wait_until_replaced(dead)
            event = server.wait_for_event("worker ended")
            assert (event["pid"], event["status"]) == (dead, -signal.SIGKILL)
        server.wait_until_ready()
        assert 'coord_users_requests_total{code="",status="200"} 6.0' in server.get("/metrics")


def test_worker_that_hangs_is_replaced(settings: Settings, tmp_path: Path) -> None:
    """A worker whose event loop does not run is killed and replaced."""
    order = tmp_path / "order"
    words = program(tmp_path, WATCHFUL.format(order=str(order)))
    with serving(settings, tmp_path / "log", "--workers", "2", program=words) as server:
        server.wait_for_event("serving")
        hanging = server.workers().pop()
        os.kill(hanging, signal.SIGSTOP)
        order.touch()
        server.wait_until_replaced(hanging)
        assert hanging in [event["pid"] for event in server.events("worker hangs")]


def test_worker_without_a_process_is_started_later(settings: Settings, tmp_path: Path) -> None:
    """If fork fails, the other worker goes on, and the parent still handles signals."""
    words = program(tmp_path, CROWDED)
    with serving(settings, tmp_path / "log", "--workers", "2", program=words) as server:
        parent = Path(f"/proc/{server.process.pid}")
        before = len(list(parent.joinpath("fd").iterdir()))
        killed, other = server.workers()
        os.kill(killed, signal.SIGKILL)
        event = server.wait_for_event("worker not started", 6)
        assert event["reason"] == f"no process: {os.strerror(errno.EAGAIN)}"
        server.wait_until_replaced(killed)
        assert other in server.workers()
        assert len(list(parent.joinpath("fd").iterdir())) == before
        assert "SigBlk:\t0000000000000000" in parent.joinpath("status").read_text()


def test_worker_that_cannot_start(settings: Settings, tmp_path: Path) -> None:
    """The parent tries again with growing pauses, then exits with one line."""
    words = program(tmp_path, IMPATIENT)
    log = tmp_path / "log"
    server = ServerProcess(settings, log, "--workers", "2", program=words)
    try:
        server.wait_until_ready()
        server.wait_for_event("serving")
        with contextlib.closing(
            sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))
        ) as connection:
            connection.execute("delete from alembic_version")
            connection.commit()
        os.kill(server.workers().pop(), signal.SIGKILL)
        assert server.process.wait(60) == 1
    finally:
        server.process.kill()
        server.process.wait()
    *_, last = log.read_text().splitlines()
    assert last.startswith("Error: A worker failed to start 4 times: The database is not migrated")
    # The first one was killed, and may have lived long enough not to count.
    assert log.read_text().count('"reason": "The database is not migrated') in (3, 4)


def test_worker_that_fails_at_the_first_start(settings: Settings, tmp_path: Path) -> None:
    """An invalid configuration ends the parent at once."""
    empty = settings.database_url + ".empty"
    words = ("--workers", "2")
    log = tmp_path / "log"
    server = ServerProcess(settings, log, *words, DATABASE_URL=empty)
    assert server.process.wait(60) == 1
    assert log.read_text().count("Error: The database is not migrated") == 1


@pytest.mark.parametrize("raised", ["ValueError('odd')", "SystemExit(7)"])
def test_worker_that_crashes_at_its_start(settings: Settings, tmp_path: Path, raised: str) -> None:
    """An unexpected error is logged, and so is the status of a worker that exits."""
    words = program(tmp_path, CRASHING.format(raised=raised) + IMPATIENT)
    log = tmp_path / "log"
    server = ServerProcess(settings, log, "--workers", "2", program=words)
    assert server.process.wait(60) == 1
    *_, last = log.read_text().splitlines()
    if "ValueError" in raised:
        assert last == "Error: ValueError"
        assert '"error": "ValueError: odd"' in log.read_text()
    else:
        assert last.endswith("A worker failed to start 4 times: it ended with status 7")


def test_worker_that_gets_sigterm_is_replaced(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path / "log", "--workers", "2") as server:
        stopped = server.workers().pop()
        os.kill(stopped, signal.SIGTERM)
        server.wait_until_replaced(stopped)


def test_workers_of_a_parent_that_was_killed(settings: Settings, tmp_path: Path) -> None:
    """They exit by themselves, and the port is free again."""
    log = tmp_path / "log"
    server = ServerProcess(settings, log, "--workers", "2", DRAIN_SECONDS="30")
    try:
        server.wait_until_ready()
        server.wait_for_event("serving")
        orphans = server.workers()
    finally:
        server.process.kill()
        server.process.wait()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in orphans):
        assert time.monotonic() < until
        time.sleep(0.05)
    with pytest.raises(httpx.ConnectError):
        server.get("/healthz")
