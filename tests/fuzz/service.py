"""The service to be fuzzed: called in-process for speed, and by bytes over a socket."""

import asyncio
import contextlib
import socket
from typing import Any, NamedTuple
from unittest.mock import patch
from urllib.parse import urlsplit

from support.serving import Partner, Service

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.service import create_app
from app.storage.database import Database

DEADLINE = 10.0


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class InProcess(contextlib.AbstractContextManager["InProcess"]):
    """The ASGI application, with its lifespan, on a loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self._app = create_app(settings)
        self._runner = asyncio.Runner()
        self._state: dict[str, Any] = {}
        self._ending: asyncio.Event
        self._lifespan: asyncio.Task[None]

    def __enter__(self) -> "InProcess":
        self._runner.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    def call(self, scope: dict[str, Any], body: list[bytes]) -> Answer:
        """Answer one request, whose body comes in pieces."""
        return self._runner.run(self._call(scope, body))

    async def _call(self, scope: dict[str, Any], body: list[bytes]) -> Answer:
        pieces = [{"type": "http.request", "body": piece, "more_body": True} for piece in body] + [
            {"type": "http.request", "body": b"", "more_body": False}
        ]
        result: list[Any] = []

        async def receive() -> Any:
            return pieces.pop(0) if pieces else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            result.append(message)

        whole = {"type": "http", "state": dict(self._state), **scope}
        await asyncio.wait_for(self._app(whole, receive, send), DEADLINE)  # type: ignore[arg-type]
        start, *rest = result
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(one["body"] for one in rest))

    async def _start(self) -> None:
        started, self._ending = asyncio.Event(), asyncio.Event()
        messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

        async def receive() -> Any:
            message = next(messages)
            if message["type"] == "lifespan.shutdown":
                await self._ending.wait()
            return message

        async def send(message: Any) -> None:
            assert message["type"].endswith("complete")
            started.set()

        scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
        self._lifespan = asyncio.create_task(self._app(scope, receive, send))
        await asyncio.wait_for(started.wait(), DEADLINE)

    async def _stop(self) -> None:
        self._ending.set()
        await asyncio.wait_for(self._lifespan, DEADLINE)


class Fuzzed(NamedTuple):
    """The service by both ways in, and credentials that it takes."""

    inner: InProcess
    address: tuple[str, int]
    partner: Partner

    def exchange(self, sent: bytes) -> bytes:
        """Send bytes and end; give all that comes back until the other end does, too."""
        with socket.create_connection(self.address, DEADLINE) as sock:
            received = b""
            with contextlib.suppress(ConnectionError):
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                while piece := sock.recv(65536):
                    received += piece
        return received


@contextlib.contextmanager
def fuzzed(folder: Any) -> Any:
    """Run it, with an SQLite in a folder and a stand-in for Stripe."""
    url = f"sqlite:///{folder}/users.db"
    database = Database(url)
    database.migrate()
    partner = Partner(database)
    # Callers here close their half once they have sent all, and wait on a busy machine.
    with StandIn() as standin, patch("app.web.transport.HALF_CLOSED_SECONDS", DEADLINE):
        settings = Settings(
            database_url=url,
            stripe_secret_key="sk_test_1",
            stripe_api_base=standin.url,
            cors_origins=("https://app.example",),
            refusals_per_user=1000,
            refusals_per_partner=100_000,
        )
        with InProcess(settings) as inner, Service(settings) as service:
            address = urlsplit(service.url)
            yield Fuzzed(inner, (str(address.hostname), int(address.port or 0)), partner)
    database.close()
