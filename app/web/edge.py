"""The outermost ASGI application: every request enters and every response leaves through it.

It names the request, bounds it in size and time, admits as many as the worker can carry, answers
probes without a thread, and turns errors into responses.
"""

import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import Settings
from app.contract.document import SAFE_METHODS
from app.errors import CallerIsGone, Overloaded, clear_tracebacks
from app.telemetry import trace
from app.telemetry.metrics import Metrics
from app.web import cors
from app.web.body import read_body, replay
from app.web.exchange import Exchange
from app.web.forwarded import Proxies
from app.web.head import Headers, check_head, check_is_read, headers_of
from app.web.pacer import LoopPacer
from app.web.places import Places
from app.web.problems import Problems, Response

log = structlog.get_logger()

# Logged, never sent: nginx uses the same number for callers who have hung up.
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
        facts: about the service, for the event at its start.
        end_background: lets what runs beside the requests begin nothing new.

    Attributes:
        is_stopping: whether no more requests shall come; responses then end their connections.
    """

    def __init__(
        self,
        app: ASGIApp,
        problems: Problems,
        probes: Mapping[str, Probe],
        metrics: Metrics,
        settings: Settings,
        facts: Mapping[str, object] | None = None,
        end_background: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self._problems = problems
        self._probes = probes
        self._metrics = metrics
        self.settings = settings
        self.facts = facts or {}
        self.end_background = end_background
        self.is_stopping = False
        self._proxies = Proxies(settings.trusted_proxies)
        self._preflight = cors.preflight(settings.cors_headers)
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
        exchange = Exchange(send, headers, self.settings.cors_origins, self.is_stopping)
        traced = trace.begin(
            exchange.request_id, self.settings.request_timeout, scope.get("state", {})
        )
        traced.trace_id = trace.trace_id_of(headers.get(b"traceparent", b"").decode("latin-1"))
        # Before the proxies' prefix goes before its path.
        probe = self._probes.get(scope["path"])
        traced.client, traced.prefix = self._proxies.apply(scope)
        is_api = True
        try:
            check_head(scope, headers)
            if response := await self._own_response(scope["method"], headers, probe):
                is_api = False
                await exchange.respond(response)
            else:
                await self._pass_on(scope, receive, exchange, headers)
        except CallerIsGone as error:
            # It may have closed its half only; the work did not begin, so it may try again.
            await exchange.respond(self._problems.response(Overloaded()))
            exchange.status, exchange.code = CLOSED_BY_CALLER, "caller_is_gone"
            clear_tracebacks(error)
        except Exception as error:
            has_access_key = b"access_key=" in scope["query_string"]
            await exchange.respond(self._problems.response(error, has_access_key))
            clear_tracebacks(error)
        if is_api:
            self._record(scope["method"], exchange, traced)

    async def _own_response(
        self, method: str, headers: Headers, probe: Probe | None
    ) -> Response | None:
        """Return the response to a probe or a preflight; None for all other requests."""
        if probe:
            check_is_read(method)
            return await probe()
        if cors.is_preflight(method, headers, self.settings.cors_origins):
            return self._preflight
        return None

    async def _pass_on(
        self, scope: Scope, receive: Receive, exchange: Exchange, headers: Headers
    ) -> None:
        # Read before a place is taken: slow senders keep no other caller out.
        body = await read_body(scope, receive, headers)
        for message in await self._call(scope, replay(body, receive)):
            await exchange.send(message)

    async def _call(self, scope: Scope, receive: Receive) -> list[Message]:
        """Return the application's whole response, so that slow readers take no place either."""
        response: list[Message] = []

        async def collect(message: Message) -> None:
            response.append(message)

        with self._read_places if scope["method"] in SAFE_METHODS else self._places:
            await self._pacer.wait_turn()
            await self._app(scope, receive, collect)
        return response

    def _record(self, method: str, exchange: Exchange, traced: trace.Trace) -> None:
        seconds = time.perf_counter() - traced.began
        self._metrics.requests.labels(exchange.status, exchange.code).inc()
        self._metrics.duration.observe(seconds)
        log.info(
            "request",
            method=method,
            status=exchange.status,
            code=exchange.code,
            client=traced.client,
            partner=traced.partner,
            user=traced.user,
            seconds=round(seconds, 4),
            **traced.rounded(),
        )
