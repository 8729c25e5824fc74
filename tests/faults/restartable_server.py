"""Server processes that start fast, to be killed hundreds of times."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from faults.deployment import DEADLINE, program
from support.server_process import environ_of, reserved_port

from app.config import Settings


class RestartableServer:
    """A server that can be killed and started again at one address.

    Args:
        settings: what its environment says.
        log: takes the stderr of the server that lives.

    Attributes:
        url: of the server that lives, if any.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self._port = int(reserved_port())
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = log
        self._child = 0
        self._fork_server = subprocess.Popen(
            program("fork_server.py"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ_of(settings),
        )

    def start(self, crash_at: str = "", skip: int = 0) -> bool:
        """Fork a server, and wait until it is ready.

        Args:
            crash_at: a point of `crash_at.py` at which it kills itself, if at all.
            skip: how often it passes the point before.

        Returns:
            False if it was killed before it was ready.
        """
        assert self._fork_server.stdin
        wanted: dict[str, object] = {"port": self._port, "log": str(self._log)}
        if crash_at:
            wanted["crash"] = {"CRASH_AT": crash_at, "CRASH_SKIP": str(skip)}
        print(json.dumps(wanted), file=self._fork_server.stdin, flush=True)
        self._child = int(self._line())
        until = time.monotonic() + DEADLINE
        while not self._is_ready():
            if crash_at and not self._is_alive():
                self.wait_for_death()
                return False
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.005)
        return True

    def kill(self) -> None:
        """Kill the server with SIGKILL, and wait for its end."""
        self.send_kill()
        self.wait_for_death()

    def send_kill(self) -> None:
        """Kill the server, and leave waiting for its end to `wait_for_death`."""
        os.kill(self._child, signal.SIGKILL)

    def wait_for_death(self) -> None:
        """Wait until the server was killed."""
        assert self._line() == "-9", self._log.read_text()

    def stop(self) -> None:
        """End the server with SIGTERM, and then the fork server."""
        os.kill(self._child, signal.SIGTERM)
        assert self._line() == "0", self._log.read_text()
        assert self._fork_server.stdin
        self._fork_server.stdin.close()
        assert self._fork_server.wait(DEADLINE) == 0
        assert self._fork_server.stdout
        self._fork_server.stdout.close()

    def _line(self) -> str:
        assert self._fork_server.stdout
        return self._fork_server.stdout.readline().strip()

    def _is_alive(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, 0)
            return True
        return False

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False
