"""The outermost layer: what each request meets first, and each answer last.

It names the request, bounds it in size and time, lets in as many as the worker can carry, answers
the probes without a thread, and puts on each answer the headers that all answers bear.
"""

import asyncio
import functools
import ipaddress
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Container, Mapping

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import Settings
from app.errors import (
    CallerIsGone,
    InvalidRequest,
    MethodNotAllowed,
    Overloaded,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
    forget_frames,
)
from app.telemetry import trace
from app.telemetry.logs import SECRETS
from app.telemetry.metrics import Metrics
from app.web import cors
from app.web.pacer import Turnstile
from app.web.problems import Answer, Problems

log = structlog.get_logger()

MOST_BYTES = 16 * 1024
# How long a caller may take to send its body, in seconds.
BODY_SECONDS = 10.0
MOST_FIELDS = 100
# Of two of these, the next program on the way may believe the other (RFC 9112, section 11.2).
SINGLE_FIELDS = (b"host", b"authorization", b"content-type", b"transfer-encoding")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Never sent, as nobody is there to read it: nginx's number for it in its log, and now in ours.
CLOSED_BY_CALLER = 499
# Names and values are bytes, as they go over the wire: this is on the way of each request.
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
# On answers that do not say otherwise.
UNLESS_SAID = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]

Probe = Callable[[], Awaitable[Answer]]
# A request's, as they came: by name in lower case.
Headers = Mapping[bytes, bytes]


class Edge:
    """The ASGI application that the server runs.

    Args:
        app: Connexion's.
        problems: turns errors into answers.
        probes: by path, what operators ask; answered on the loop, so that they work when all
            threads wait for Stripe.
        metrics: counts.
        settings: the limits.
    """

    def __init__(
        self,
        app: ASGIApp,
        problems: Problems,
        probes: Mapping[str, Probe],
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._app = app
        self._problems = problems
        self._probes = probes
        self._metrics = metrics
        self._settings = settings
        trusted = [ipaddress.ip_network(one) for one in settings.trusted_proxies]
        self._is_trusted = functools.lru_cache(
            lambda peer: any(ipaddress.ip_address(peer) in network for network in trusted)
        )
        self._in_flight = 0
        metrics.in_flight_limit.set(settings.max_in_flight)
        self._turnstile = Turnstile()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Of a header that is sent twice, the first counts.
        headers = dict(reversed(scope["headers"]))
        exchange = _Exchange(send, headers, self._settings.cors_origins)
        traced = trace.begin(
            exchange.request_id, self._settings.request_timeout, scope.get("state", {})
        )
        try:
            _check_head(scope, headers)
            if probe := self._probes.get(scope["path"]):
                _check_is_asked(scope["method"])
                await exchange.answer(await probe())
                return
            if cors.is_preflight(scope["method"], headers, self._settings.cors_origins):
                await exchange.answer(cors.PREFLIGHT)
                return
            await self._admit(scope, receive, exchange, headers)
        except Exception as error:
            if isinstance(error, CallerIsGone):
                exchange.status, exchange.code = CLOSED_BY_CALLER, "caller_is_gone"
            else:
                has_access_key = b"access_key=" in scope["query_string"]
                answer = self._problems.answer(error, exchange.request_id, has_access_key)
                await exchange.answer(answer)
            forget_frames(error)
        seconds = time.perf_counter() - traced.began
        self._metrics.requests.labels(exchange.status, exchange.code).inc()
        self._metrics.duration.observe(seconds)
        log.info(
            "request",
            method=scope["method"],
            status=exchange.status,
            code=exchange.code,
            partner=traced.partner,
            seconds=round(seconds, 4),
            **traced.rounded(),
        )

    async def _admit(
        self, scope: Scope, receive: Receive, exchange: "_Exchange", headers: Headers
    ) -> None:
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        # Those who send or read slowly keep nobody else out.
        body = await _body(scope, receive, headers)
        if self._in_flight >= self._settings.max_in_flight:
            raise Overloaded
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            await self._turnstile.pass_through()
            self._behind_proxy(scope, headers)
            await self._app(scope, _once(body, receive), keep)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
        for message in answer:
            await exchange.send(message)

    def _behind_proxy(self, scope: Scope, headers: Headers) -> None:
        """Believe a trusted proxy of the host and scheme that the caller used."""
        if not scope.get("client") or not self._is_trusted(scope["client"][0]):
            return
        scheme = headers.get(b"x-forwarded-proto", b"").split(b",")[-1].strip()
        if scheme in (b"http", b"https"):
            scope["scheme"] = scheme.decode()
        host = headers.get(b"x-forwarded-host", b"").split(b",")[-1].strip()
        if host:
            MutableHeaders(scope=scope)["host"] = host.decode("latin-1")


class _Exchange:
    """One request's answer on its way out: puts on it the headers that all answers bear."""

    def __init__(self, send: Send, headers: Headers, cors_origins: Container[str]) -> None:
        self._send = send
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        is_id = REQUEST_ID.fullmatch(given) and not SECRETS.search(given)
        self.request_id = given if is_id else uuid.uuid4().hex
        self._origin = headers.get(b"origin", b"").decode("latin-1")
        self._cors_origins = cors_origins
        self.status = 0
        self.code = ""

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        self.code = answer.code
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": answer.body})

    async def send(self, message: Message) -> None:
        """Send one message of an answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            said = {name for name, _ in message["headers"]}
            raw = [
                *message["headers"],
                (b"x-request-id", self.request_id.encode()),
                *SECURITY_HEADERS,
                *[header for header in UNLESS_SAID if header[0] not in said],
            ]
            if self._cors_origins:
                cors.allow(self._origin, self._cors_origins, MutableHeaders(raw=raw))
            if self.status in (408, 413):
                raw.append((b"connection", b"close"))
            message["headers"] = raw
        await self._send(message)


def _check_head(scope: Scope, headers: Headers) -> None:
    """Refuse a head that is none, or that others may read in another way.

    Raises:
        InvalidRequest: it is, or the server has found that it is no HTTP.
        UnsupportedMediaType: bytes where HTTP has only letters, or a coding of the body.
    """
    _heed_server(scope)
    names = [name for name, _ in scope["headers"]]
    if len(names) > MOST_FIELDS:
        raise InvalidRequest(f"The request has more than {MOST_FIELDS} header fields.")
    for name in SINGLE_FIELDS:
        if names.count(name) > 1:
            raise InvalidRequest(f"The header `{name.decode().title()}` is given more than once.")
    if b"host" not in names and scope["http_version"] == "1.1":
        raise InvalidRequest("The header `Host` is missing.")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise InvalidRequest("The header `Transfer-Encoding` is another than `chunked`.")
    if b"content-encoding" in names or not headers.get(b"content-type", b"").isascii():
        raise UnsupportedMediaType


def _check_is_asked(method: str) -> None:
    if method not in ("GET", "HEAD"):
        raise MethodNotAllowed("GET, HEAD")


def _heed_server(scope: Scope) -> None:
    if "refused" in scope:
        raise InvalidRequest(scope["refused"])


async def _body(scope: Scope, receive: Receive, headers: Headers) -> bytes:
    """Read the body whole, within bounds of size and time.

    Raises:
        PayloadTooLarge: it is longer than any that the contract allows, or says that it is.
        RequestTimeout: it does not arrive.
        InvalidRequest: what arrives is no HTTP.
    """
    length = headers.get(b"content-length", b"0")
    if len(length) > 10 or int(length) > MOST_BYTES:
        raise PayloadTooLarge
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                _heed_server(scope)
                if message["type"] == "http.disconnect":
                    raise RequestTimeout
                body += message.get("body", b"")
                if len(body) > MOST_BYTES:
                    raise PayloadTooLarge
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestTimeout from None
    if b"transfer-encoding" in headers or headers.get(b"content-length") != b"%d" % len(body):
        # Flask takes a body without a length, as chunked ones are, for none.
        whole = MutableHeaders(scope=scope)
        whole["content-length"] = str(len(body))
        del whole["transfer-encoding"]
    return bytes(body)


def _once(body: bytes, receive: Receive) -> Receive:
    """Give the body again, then whatever the server has to say."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
