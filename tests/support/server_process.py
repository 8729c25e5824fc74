"""`coord-users serve` in a process of its own, as an operator runs it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from app.config import Settings

COMMAND = Path(sys.executable).with_name("coord-users")
# A busy machine takes long to start a process.
DEADLINE = 90.0


def reserved_port() -> str:
    """Return a port that the system gives to no other program while this process lives.

    The server under test can listen on it all the same: Linux lets two sockets share an address if
    both set SO_REUSEADDR and only one of them listens (socket(7)).
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.detach()
    return str(port)


def environ_of(settings: Settings) -> dict[str, str]:
    """Return the environment of a process with these settings."""
    return {
        **{name: value for name, value in os.environ.items() if "COVERAGE" in name},
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url,
        "STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "STRIPE_API_BASE": settings.stripe_api_base,
        "STRIPE_TIMEOUT": f"{settings.stripe_timeout:g}",
        "REQUEST_TIMEOUT": f"{settings.request_timeout:g}",
        "STRIPE_CARDS": settings.stripe_cards,
    }


class ServerProcess:
    """A running service, and its log.

    Args:
        settings: of its environment.
        log: the file that its stderr is written to.
        words: further arguments of `serve`.
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
                env={**environ_of(settings), **environ},
            )

    def wait_until_ready(self) -> None:
        """Wait until the service responds."""
        with httpx.Client(trust_env=False) as client:
            self.wait_for(lambda: client.get(f"{self.url}/readyz").is_success, "readiness")

    def wait_until_all_serve(self) -> None:
        """Wait until each worker serves, which the log tells in any format."""
        self.wait_for(lambda: "serving" in self._log.read_text(), "all workers")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds; a server that cannot be reached does not fulfil it."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            assert self.process.poll() is None, self._log.read_text()
            with contextlib.suppress(httpx.TransportError):
                if condition():
                    return
            time.sleep(0.05)
        raise AssertionError(f"waited in vain for {what}: {self._log.read_text()}")

    def wait_for_event(self, name: str, number: int = 1) -> dict[str, Any]:
        """Wait until the log has so many events of a name, and return the last of them."""
        self.wait_for(lambda: len(self.events(name)) >= number, name)
        return self.events(name)[-1]

    def workers(self) -> set[int]:
        """Return the ids of the processes that serve: its children."""
        pid = self.process.pid
        return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def wait_until_replaced(self, dead: int) -> None:
        """Wait until one of two workers has a successor."""
        self.wait_for(lambda: len(self.workers() - {dead}) == 2, "a successor")

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the events in the log, all or those of one name."""
        # What follows the last newline is still being written.
        lines = self._log.read_text().split("\n")[:-1]
        events = [json.loads(line) for line in lines]
        return [event for event in events if name in ("", event["event"])]

    def get(self, path: str) -> str:
        """Send a request on a new connection, which any worker may accept."""
        return httpx.get(self.url + path, trust_env=False).text

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Stop the service as a deployment does; return how long it took, in seconds."""
        began = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(DEADLINE) == 0, self._log.read_text()
        return time.monotonic() - began


@contextlib.contextmanager
def serving(settings: Settings, log: Path, *words: str, **options: Any) -> Iterator[ServerProcess]:
    """Run the service inside the block, which may stop it itself."""
    server = ServerProcess(settings, log, *words, **options)
    try:
        server.wait_until_ready()
        # One of several workers may respond before the others have begun.
        server.wait_until_all_serve()
        yield server
        if server.process.poll() is None:
            server.stop()
    finally:
        server.process.kill()
        server.process.wait()
