"""The response to one request on its way out."""

import re
import secrets
from collections.abc import Container

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from app.telemetry.logs import SECRETS
from app.web import cors
from app.web.head import Headers
from app.web.problems import Response

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Names and values are bytes, as they are sent: these are on the way of every request.
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
# On responses that do not set these themselves.
DEFAULT_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]
# After these statuses the rest of the request's body may still be on its way.
CLOSING_STATUSES = (408, 413)


class Exchange:
    """Sends the response to one request, with the headers that all responses have.

    Args:
        send: the server's channel.
        headers: of the request.
        cors_origins: origins whose pages may read the response.
        is_last: whether the connection ends with this response.

    Attributes:
        request_id: the caller's own, if it is well formed and not a secret; else a new one.
        status: of the response, once it is sent.
        code: of the problem, if the response is one.
    """

    def __init__(
        self, send: Send, headers: Headers, cors_origins: Container[str], is_last: bool = False
    ) -> None:
        self._send = send
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        is_usable = REQUEST_ID.fullmatch(given) and not SECRETS.search(given)
        self.request_id = given if is_usable else secrets.token_hex(16)
        self._origin = headers.get(b"origin", b"").decode("latin-1")
        self._cors_origins = cors_origins
        self._is_last = is_last
        self.status = 0
        self.code = ""

    async def respond(self, response: Response) -> None:
        """Send a whole response."""
        self.code = response.code
        headers = {**response.headers, "Content-Length": str(len(response.body))}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": response.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": response.body})

    async def send(self, message: Message) -> None:
        """Send one message of a response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._completed(message["headers"])
        await self._send(message)

    def _completed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name for name, _ in headers}
        raw = [
            *headers,
            (b"x-request-id", self.request_id.encode()),
            *SECURITY_HEADERS,
            *[header for header in DEFAULT_HEADERS if header[0] not in names],
        ]
        if self._cors_origins:
            cors.allow(self._origin, self._cors_origins, MutableHeaders(raw=raw))
        if self._is_last or self.status in CLOSING_STATUSES:
            raw.append((b"connection", b"close"))
        return raw
