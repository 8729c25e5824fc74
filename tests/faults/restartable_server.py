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
from support.server_process import reserved_port

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
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": settings.database_url,
                "STRIPE_SECRET_KEY": settings.stripe_secret_key,
                "STRIPE_API_BASE": settings.stripe_api_base,
                "STRIPE_TIMEOUT": f"{settings.stripe_timeout:g}",
                "REQUEST_TIMEOUT": f"{settings.request_timeout:g}",
            },
        )

    def start(self) -> None:
        """Fork a server, and wait until it is ready."""
        assert self._fork_server.stdin
        print(
            json.dumps({"port": self._port, "log": str(self._log)}),
            file=self._fork_server.stdin,
            flush=True,
        )
        self._child = int(self._line())
        until = time.monotonic() + DEADLINE
        while not self._is_ready():
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        os.kill(self._child, signal.SIGKILL)
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

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False
