"""`coord-users serve` in a process of its own, as an operator runs it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from app.config import Settings

COMMAND = Path(sys.executable).with_name("coord-users")
# A busy machine takes long to start a process.
DEADLINE = 90.0


def reserved_port() -> str:
    """Give a port that no other program is given while this process lives.

    A server may listen at it all the same: Linux lets two share an address of which only one
    listens, if both say SO_REUSEADDR (socket(7)), but hands it out to nobody.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.detach()
    return str(port)


class ServerProcess:
    """A running service, and what it logs.

    Args:
        settings: what its environment says.
        log: the file that takes its stderr.
        words: further ones for `serve`.
        program: runs instead of `coord-users`.
        environ: further variables.
    """

    def __init__(
        self,
        settings: Settings,
        log: Path,
        *words: str,
        program: tuple[str | Path, ...] = (),
        **environ: str,
    ) -> None:
        port = reserved_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*(program or (COMMAND,)), "serve", "--port", port, *words],
                stderr=stderr,
                env={
                    **{name: value for name, value in os.environ.items() if "COVERAGE" in name},
                    "PATH": os.environ["PATH"],
                    "DATABASE_URL": settings.database_url,
                    "STRIPE_SECRET_KEY": settings.stripe_secret_key,
                    "STRIPE_API_BASE": settings.stripe_api_base,
                    "STRIPE_TIMEOUT": f"{settings.stripe_timeout:g}",
                    "REQUEST_TIMEOUT": f"{settings.request_timeout:g}",
                    **environ,
                },
            )

    def wait_until_ready(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            assert self.process.poll() is None, self._log.read_text()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/readyz", trust_env=False).raise_for_status()
                return
            time.sleep(0.05)
        raise AssertionError("the service did not become ready")

    def workers(self) -> set[int]:
        """Give the processes that serve: all children but the one that tracks resources."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                is_worker = b"resource_tracker" not in (folder / "cmdline").read_bytes()
                if int(parent) == self.process.pid and is_worker:
                    found.add(int(folder.name))
        return found

    def wait_until_replaced(self, dead: int) -> None:
        """Wait until one of two workers has a successor."""
        until = time.monotonic() + DEADLINE
        while dead in (living := self.workers()) or len(living) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)

    def events(self) -> list[dict[str, Any]]:
        """Give what it logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def get(self, path: str) -> str:
        """Ask on a new connection, which any worker may take."""
        return httpx.get(self.url + path, trust_env=False).text


@contextlib.contextmanager
def serving(settings: Settings, log: Path, *words: str, **options: Any) -> Iterator[ServerProcess]:
    """Serve inside the block; ends as a deployment does, by SIGTERM."""
    server = ServerProcess(settings, log, *words, **options)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(DEADLINE) == 0
