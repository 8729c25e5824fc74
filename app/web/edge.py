"""The outermost ASGI application: every request enters and every response leaves through it.

It names the request, bounds it in size and time, admits as many as the worker can carry, answers
probes without a thread, and turns errors into responses.
"""

import functools
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import Settings
from app.contract.document import SAFE_METHODS
from app.errors import CallerIsGone, clear_tracebacks
from app.telemetry import trace
from app.telemetry.metrics import Metrics
from app.web import cors
from app.web.body import read_body, replay
from app.web.exchange import Exchange
from app.web.head import Headers, check_head, check_is_read, headers_of
from app.web.pacer import LoopPacer
from app.web.places import Places
from app.web.problems import Problems, Response

log = structlog.get_logger()

# Logged, never sent, as the caller has hung up: nginx uses the same number for it.
CLOSED_BY_CALLER = 499
# Requests with safe methods that are in flight at once, besides `MAX_IN_FLIGHT` others. Each takes
# milliseconds, so this many are thousands a second; there is a thread for each, as a database that
# is out of reach delays each by seconds.
MOST_READS = 100

Probe = Callable[[], Awaitable[Response]]


class Edge:
    """The ASGI application that the server runs.

    Args:
        app: Connexion's.
        problems: turns errors into responses.
        probes: by path, what operators ask; answered on the event loop, so that they work while all
            threads wait for Stripe.
        metrics: counts requests.
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
        self._places = Places(settings.max_in_flight, metrics.in_flight.set)
        self._read_places = Places(MOST_READS)
        metrics.in_flight_limit.set(settings.max_in_flight)
        self._pacer = LoopPacer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        exchange = Exchange(send, headers, self._settings.cors_origins)
        traced = trace.begin(
            exchange.request_id, self._settings.request_timeout, scope.get("state", {})
        )
        is_own_answer = False
        try:
            is_own_answer = await self._handle(scope, receive, exchange, headers)
        except CallerIsGone as error:
            exchange.status, exchange.code = CLOSED_BY_CALLER, "caller_is_gone"
            clear_tracebacks(error)
        except Exception as error:
            has_access_key = b"access_key=" in scope["query_string"]
            await exchange.respond(self._problems.response(error, has_access_key))
            clear_tracebacks(error)
        if not is_own_answer:
            self._record(scope["method"], exchange, traced)

    async def _handle(
        self, scope: Scope, receive: Receive, exchange: Exchange, headers: Headers
    ) -> bool:
        """Send the response; return whether it was made here, for a probe or a preflight."""
        check_head(scope, headers)
        if probe := self._probes.get(scope["path"]):
            check_is_read(scope["method"])
            await exchange.respond(await probe())
            return True
        if cors.is_preflight(scope["method"], headers, self._settings.cors_origins):
            await exchange.respond(cors.PREFLIGHT)
            return True
        # Read before a place is taken: slow senders keep no other caller out.
        body = await read_body(scope, receive, headers)
        for message in await self._call(scope, replay(body, receive), headers):
            await exchange.send(message)
        return False

    async def _call(self, scope: Scope, receive: Receive, headers: Headers) -> list[Message]:
        """Return the application's whole response, so that slow readers take no place either."""
        response: list[Message] = []

        async def collect(message: Message) -> None:
            response.append(message)

        with self._read_places if scope["method"] in SAFE_METHODS else self._places:
            await self._pacer.wait_turn()
            self._apply_forwarded(scope, headers)
            await self._app(scope, receive, collect)
        return response

    def _apply_forwarded(self, scope: Scope, headers: Headers) -> None:
        """Replace host and scheme by those that the caller used, as a trusted proxy states them."""
        if not scope.get("client") or not self._is_trusted(scope["client"][0]):
            return
        scheme = headers.get(b"x-forwarded-proto", b"").split(b",")[-1].strip()
        if scheme in (b"http", b"https"):
            scope["scheme"] = scheme.decode()
        host = headers.get(b"x-forwarded-host", b"").split(b",")[-1].strip()
        if host:
            MutableHeaders(scope=scope)["host"] = host.decode("latin-1")

    def _record(self, method: str, exchange: Exchange, traced: trace.Trace) -> None:
        seconds = time.perf_counter() - traced.began
        self._metrics.requests.labels(exchange.status, exchange.code).inc()
        self._metrics.duration.observe(seconds)
        log.info(
            "request",
            method=method,
            status=exchange.status,
            code=exchange.code,
            partner=traced.partner,
            user=traced.user,
            seconds=round(seconds, 4),
            **traced.rounded(),
        )
