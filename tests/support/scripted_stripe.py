"""A socket that answers each call to Stripe with what the test says."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from support import stripe_document

# How long a connection may be idle, in seconds: longer than any test.
IDLE = 60.0


@dataclass(frozen=True)
class Said:
    """An answer, as it is sent."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    """A request, as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    params: Mapping[str, str]


def error(status: int, headers: Mapping[str, str] | None = None, **members: str) -> Said:
    """Return an error in Stripe's form."""
    body = {"error": {"type": "invalid_request_error", "message": "text", **members}}
    return Said(status, body, headers or {})


class ScriptedStripe:
    """The socket. Each request is held against Stripe's own document.

    Attributes:
        says: the answer to the next request, and to all after it.
        queue: answers that come first, each once.
        requests: what arrived.
        connections: how many were opened.
    """

    def __init__(self) -> None:
        self.says = Said(200, {})
        self.queue: list[Said] = []
        self.requests: list[Received] = []
        self.connections = 0
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = IDLE

            def setup(self) -> None:
                scripted.connections += 1
                super().setup()

            def handle_request(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                scripted._answer(self, text)

            do_GET = do_POST = do_DELETE = handle_request  # noqa: N815 - the base's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, text: str) -> None:
        url = urlsplit(handler.path)
        stripe_document.watch(handler.command, handler.path, text)
        self.requests.append(
            Received(
                handler.command,
                url.path,
                {name.lower(): value for name, value in handler.headers.items()},
                dict(parse_qsl(text or url.query, keep_blank_values=True)),
            )
        )
        said = self.queue.pop(0) if self.queue else self.says
        content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        handler.send_response_only(said.status)
        headers = {"Request-Id": "req_1", **said.headers}
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
