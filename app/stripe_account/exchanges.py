"""One exchange with Stripe: sent within its time, read, and accepted only with its marks."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar
from urllib.parse import quote

import stripe
import structlog

from app.errors import CardRefused, Misconfigured, ParameterRefused, TokenRefused, clear_tracebacks
from app.http_client import HttpClient
from app.stripe_account import objects
from app.stripe_account.objects import Unreadable
from app.stripe_account.outcomes import CustomerGone, EmailRefused, KeyMismatch, OutcomeUnknown
from app.stripe_account.readings import Call, Failure, reading
from app.stripe_account.sdk_client import SdkClient, make_quiet
from app.telemetry.trace import spent

Answer = TypeVar("Answer")
Params = Mapping[str, object]
Read = Callable[[object], Answer]
# For each call that a list takes: seconds, or what returns them right before the call.
Timeout = float | Callable[[], float]

log = structlog.get_logger()

# How many items of a list Stripe sends at most (https://docs.stripe.com/api/pagination).
PAGE = 100
# Stripe echoes the idempotency key of a POST, also with a refusal, but not with a 401.
ECHO = "Idempotency-Key"
make_quiet()


class Exchanges:
    """Sends calls to Stripe, each once, and reads what it answers."""

    def __init__(
        self,
        secret_key: str,
        api_base: str,
        *,
        connections: int,
        observe: Callable[[str, str, float], None],
        refused: Callable[[str], None],
    ) -> None:
        self._http = HttpClient(connections)
        self._observe = observe
        self._refused = refused
        self._sdk = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            # `app.customers` decides when to call again: it knows how much time is left.
            max_network_retries=0,
            http_client=SdkClient(self._http),
        )

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def post(
        self,
        call: Call,
        path: str,
        params: Params,
        key: str | None,
        timeout: float,
        read: Read[Answer],
    ) -> Answer:
        """Change something at Stripe.

        Args:
            read: makes the result of the answer's body.

        Raises:
            Exception: one of `app.stripe_account.outcomes`.
        """
        return self._observed(
            call, timeout, lambda: self._exchange(call, "post", path, params, key, read)
        )

    def get(
        self,
        call: Call,
        path: str,
        timeout: float,
        read: Read[Answer],
        *,
        params: Params | None = None,
        method: str = "get",
    ) -> Answer:
        """Send a call that nothing can refuse: what is not an answer is an unknown outcome.

        Raises:
            CustomerGone, Misconfigured, OutcomeUnknown: see `app.stripe_account.outcomes`.
        """
        try:
            return self._observed(
                call, timeout, lambda: self._exchange(call, method, path, params or {}, None, read)
            )
        except (CardRefused, TokenRefused, ParameterRefused, EmailRefused, KeyMismatch) as odd:
            raise OutcomeUnknown(f"Stripe refused to answer: {odd}") from odd

    def find(self, call: Call, path: str, timeout: float, read: Read[Answer]) -> Answer | None:
        """Retrieve an object, or return None if Stripe does not have it."""
        try:
            return self.get(call, path, timeout, read)
        except OutcomeUnknown as unknown:
            if isinstance(unknown.__cause__, TokenRefused):
                return None
            raise

    def pages(
        self, call: Call, path: str, params: Params, timeout: Timeout, read: Read[Answer]
    ) -> Iterator[Answer]:
        """Yield the items of a list, page by page (https://docs.stripe.com/api/pagination)."""

        def page(body: object) -> tuple[list[Answer], str, bool]:
            items, has_more = objects.page(body)
            last = objects.id_of(items[-1]) if items else ""
            return [read(item) for item in items], last, has_more

        here: dict[str, object] = {**params, "limit": PAGE}
        while True:
            seconds = timeout() if callable(timeout) else timeout
            answers, last, has_more = self.get(call, path, seconds, page, params=here)
            yield from answers
            if not has_more or not answers:
                return
            here["starting_after"] = last

    def _observed(self, call: Call, timeout: float, exchange: Callable[[], Answer]) -> Answer:
        """Bound an exchange by its time, and report how it ended."""
        outcome, began = "refused", time.perf_counter()
        try:
            with spent("stripe"), self._http.within(timeout):
                answer = exchange()
        except OutcomeUnknown:
            outcome = "unknown"
            raise
        except (Misconfigured, ParameterRefused) as error:
            log.error("Stripe refuses us", call=call.name, reason=error.reason, inner=error.inner)
            self._refused(error.reason)
            raise
        else:
            outcome = "answered"
            return answer
        finally:
            self._observe(call.name, outcome, time.perf_counter() - began)

    def _exchange(
        self,
        call: Call,
        method: str,
        path: str,
        params: Params,
        key: str | None,
        read: Read[Answer],
    ) -> Answer:
        options = {} if key is None else {"idempotency_key": key}
        try:
            answer = self._sdk.raw_request(method, path, **params, **options)
            self._require_echo(answer.headers, key)
            return read(answer.data)
        except CustomerGone:
            raise
        except stripe.StripeError as error:
            # Not each reaches a caller: on some, `app.customers` calls again.
            clear_tracebacks(error)
            raise self._meaning(call, error, key) from error
        except Unreadable as error:
            self._http.discard()
            raise OutcomeUnknown(f"not the answer to this call: {error}") from error
        except Exception as error:
            # Some bodies make the SDK stumble, long after Stripe has acted.
            self._http.discard()
            raise OutcomeUnknown(f"unreadable answer: {type(error).__name__}") from error

    def _meaning(self, call: Call, error: stripe.StripeError, key: str | None) -> Exception:
        if error.http_status is None:
            return _unanswered(error)
        headers = error.headers or {}
        try:
            self._require_echo(headers, key)
        except Unreadable as wrong:
            self._http.discard()
            return OutcomeUnknown(f"not the answer to this call: {wrong}")
        return reading(call, Failure(error.http_status, headers, error.json_body))

    @staticmethod
    def _require_echo(headers: Mapping[str, str], key: str | None) -> None:
        echo = headers.get(ECHO) or headers.get(ECHO.lower())
        if key is not None and echo is not None and echo != key:
            raise Unreadable("it echoes another idempotency key")


def path_to(*parts: str) -> str:
    """Return a path of Stripe's API, whatever the ids in it contain."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _unanswered(error: stripe.StripeError) -> OutcomeUnknown:
    """Return the meaning of a failure of the network, with the reason that the client found."""
    cause = error.__cause__
    was_sent = getattr(cause, "was_sent", True)
    return OutcomeUnknown(str(cause or type(error).__name__), maybe_executed=was_sent)
