"""Coord's account at Stripe: the only file that speaks to Stripe, and reads what it answers.

Every answer becomes one of few: a customer, a refusal, or an outcome that is not known. What is
neither a clear success nor a clear refusal is unknown: Stripe may have done it.
See https://docs.stripe.com/error-low-level and https://docs.stripe.com/api/idempotent_requests.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import stripe

from app.errors import CardRefused, Misconfigured, ParameterRefused, TokenRefused, forget_frames
from app.http_client import HttpClient
from app.stripe_account.sdk_client import SdkClient
from app.telemetry.trace import spent

Answer = TypeVar("Answer")

# Stripe's names for what can be wrong with a token besides those that begin with "token_".
TOKEN_CODES = frozenset({"livemode_mismatch", "invalid_source", "source_already_used"})
# "true" where Stripe kept an answer and gives it again; see "Sent idempotency" in its guide to
# low-level errors. A failure without it may be of a call that never came as far as its key.
REPLAYED = "Idempotent-Replayed"
CUSTOMERS = "/v1/customers"
CODE = re.compile("[a-z0-9_]{1,100}")
# The SDK logs the bodies that it sends at DEBUG, card tokens included.
logging.getLogger("stripe").setLevel(logging.WARNING)


class OutcomeUnknown(Exception):
    """Raised when Stripe may or may not have done what it was asked.

    Args:
        reason: for the log; holds no secret.
        is_kept: whether it is a failure that Stripe keeps and replays for the same key, so that
            nothing runs under it any more.
    """

    def __init__(self, reason: str, *, is_kept: bool = False) -> None:
        super().__init__(reason)
        self.is_kept = is_kept


class KeyMismatch(Exception):
    """Raised when Stripe knows the idempotency key with other parameters."""


class CustomerGone(Exception):
    """Raised when the customer was deleted at Stripe, or never was on this account."""


class EmailRefused(Exception):
    """Raised when Stripe does not take the e-mail address for one."""


@dataclass(frozen=True)
class Customer:
    """A customer on Coord's account, as far as it concerns us."""

    id: str
    metadata: dict[str, str]


class StripeAccount:
    """What this service asks of Stripe.

    Args:
        secret_key: of Coord's own account.
        api_base: another address than Stripe's, for a stand-in.
        connections: how many kept-alive connections are shared among threads at most.
        observe: is told of each call, how it ended, and the seconds that it took.
    """

    def __init__(
        self,
        secret_key: str,
        api_base: str = "",
        *,
        connections: int = 100,
        observe: Callable[[str, str, float], None] = lambda _call, _outcome, _seconds: None,
    ) -> None:
        self._http = HttpClient(connections)
        self._observe = observe
        # Without types: its `raw_request` has none. That is the SDK without its objects, which take
        # as long to make of an answer as the answer to come over the wire of this machine.
        self._sdk: Any = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            # `app.customers.save_card` decides when to ask again: it knows how much time is left.
            max_network_retries=0,
            http_client=SdkClient(self._http),
        )

    def create_customer(
        self,
        token: str,
        email: str | None,
        metadata: dict[str, str],
        *,
        idempotency_key: str,
        timeout: float,
    ) -> Customer:
        """Create a customer with the token's card, or none at all.

        https://docs.stripe.com/api/customers/create

        Args:
            token: names the card.
            email: of the user, if known.
            metadata: by which we find the customer again.
            idempotency_key: at most one execution for each.
            timeout: seconds until the outcome counts as unknown.

        Raises:
            CardRefused, TokenRefused, EmailRefused, ParameterRefused: no customer was made.
            Misconfigured: Stripe did not take our key.
            KeyMismatch: the key was used with other parameters.
            OutcomeUnknown: none of the above is certain.
        """
        params: dict[str, Any] = {"source": token, "metadata": metadata}
        if email:
            params["email"] = email
        return self._ask(
            "create",
            timeout,
            lambda: _customer(
                self._sdk.raw_request(
                    "post", CUSTOMERS, **params, idempotency_key=idempotency_key
                ).data
            ),
        )

    def replace_card(
        self,
        customer_id: str,
        token: str,
        metadata: dict[str, str],
        *,
        idempotency_key: str,
        timeout: float,
    ) -> Customer:
        """Make the token's card the customer's default, or change nothing.

        https://docs.stripe.com/api/customers/update

        Raises:
            CustomerGone: there is no such customer any more.
            CardRefused, TokenRefused, ParameterRefused, Misconfigured, KeyMismatch,
            OutcomeUnknown: as for `create_customer`.
        """
        params: dict[str, Any] = {"source": token, "metadata": metadata}
        return self._ask(
            "update",
            timeout,
            lambda: _customer(
                self._sdk.raw_request(
                    "post", _path(customer_id), **params, idempotency_key=idempotency_key
                ).data
            ),
        )

    def retrieve(self, customer_id: str, *, timeout: float) -> Customer:
        """Tell a customer as it is now.

        https://docs.stripe.com/api/customers/retrieve

        Raises:
            CustomerGone: it was deleted, or never was.
            Misconfigured, OutcomeUnknown: as for `create_customer`.
        """
        return self._read(
            "retrieve",
            timeout,
            lambda: _customer(self._sdk.raw_request("get", _path(customer_id)).data),
        )

    def created_between(self, first: float, last: float, *, timeout: float) -> Iterator[Customer]:
        """Tell the customers created in a span of time, in seconds since the epoch.

        The list is up to date at once, unlike the search, which lags.
        https://docs.stripe.com/api/customers/list

        Raises:
            Misconfigured, OutcomeUnknown: as for `create_customer`.
        """
        after: str | None = None
        while True:
            params: dict[str, Any] = {
                "created": {"gte": int(first), "lte": int(last) + 1},
                "limit": 100,
            }
            if after:
                params["starting_after"] = after
            customers, more = self._read(
                "list",
                timeout,
                lambda: self._page(params),  # noqa: B023 - called at once
            )
            yield from customers
            if not more or not customers:
                return
            after = customers[-1].id

    def delete(self, customer_id: str, *, timeout: float) -> None:
        """Delete a customer for good.

        https://docs.stripe.com/api/customers/delete

        Raises:
            CustomerGone: it is gone already.
            Misconfigured, OutcomeUnknown: as for `create_customer`.
        """
        self._read("delete", timeout, lambda: self._sdk.raw_request("delete", _path(customer_id)))

    def reach(self, *, timeout: float) -> None:
        """Ask for nothing much, to see whether Stripe answers and takes the key.

        Raises:
            Misconfigured, OutcomeUnknown: as for `create_customer`.
        """
        self._read("list", timeout, lambda: self._page({"limit": 1}))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _ask(self, call: str, timeout: float, ask: Callable[[], Answer]) -> Answer:
        """Ask within the time, and tell how it went."""
        outcome, began = "refused", time.perf_counter()
        try:
            with spent("stripe"), self._http.within(timeout):
                answer = _told(ask)
        except OutcomeUnknown:
            outcome = "unknown"
            raise
        else:
            outcome = "answered"
            return answer
        finally:
            self._observe(call, outcome, time.perf_counter() - began)

    def _read(self, call: str, timeout: float, ask: Callable[[], Answer]) -> Answer:
        """Ask where there is nothing to refuse: all but an answer is unknown."""
        try:
            return self._ask(call, timeout, ask)
        except (CardRefused, TokenRefused, ParameterRefused, EmailRefused, KeyMismatch) as odd:
            raise OutcomeUnknown(f"Stripe refused to tell: {odd}") from odd

    def _page(self, params: dict[str, Any]) -> tuple[list[Customer], bool]:
        page = self._sdk.raw_request("get", CUSTOMERS, **params).data
        return [_customer(item) for item in page["data"]], page["has_more"]


def _path(customer_id: str) -> str:
    return f"{CUSTOMERS}/{quote(customer_id, safe='')}"


def _customer(answer: Any) -> Customer:
    if answer.get("deleted") is True:
        raise CustomerGone
    if answer["object"] != "customer" or not answer["id"].startswith("cus_"):
        raise ValueError("no customer")
    return Customer(answer["id"], dict(answer.get("metadata") or {}))


def _told(ask: Callable[[], Answer]) -> Answer:
    """Ask Stripe and tell what came of it."""
    try:
        return ask()
    except CustomerGone:
        raise
    except stripe.StripeError as error:
        # Not each goes on to a caller: some are for `app.customers.save_card` to ask again.
        forget_frames(error)
        raise _interpreted(error) from error
    except Exception as error:
        # A body that is no customer makes the SDK stumble, long after Stripe has acted.
        raise OutcomeUnknown(f"unreadable answer: {type(error).__name__}") from error


def _interpreted(error: stripe.StripeError) -> Exception:
    """Tell what an error of Stripe means for us (https://docs.stripe.com/error-codes)."""
    status = error.http_status
    # `error.code` is None on several classes where the body has one.
    code = _plain(getattr(error.error, "code", None) or error.code)
    param = getattr(error.error, "param", None) or ""
    told = f"Stripe answered {status} {code or type(error).__name__}, request {error.request_id}"
    if status is None or status in (409, 429) or not 400 <= status < 500 or error.error is None:
        # Without an error of Stripe's in it, some proxy may have answered, before or after Stripe.
        return OutcomeUnknown(told, is_kept=REPLAYED in (error.headers or ()))
    if isinstance(error, stripe.IdempotencyError):
        return KeyMismatch(told)
    if status == 402:
        decline = _plain(getattr(error.error, "decline_code", None))
        return CardRefused(code=code or None, decline_code=decline or None)
    if status in (401, 403):
        return Misconfigured(inner=told)
    if status == 404 and param in ("id", "customer", ""):
        return CustomerGone(told)
    if param == "source" or code.startswith("token_") or code in TOKEN_CODES:
        return TokenRefused(code=code or None)
    if param == "email":
        return EmailRefused(told)
    return ParameterRefused(inner=f"{told}, parameter {param}")


def _plain(code: Any) -> str:
    """Pass on a code of Stripe's only where it has the form that the contract promises."""
    return code if isinstance(code, str) and CODE.fullmatch(code) else ""
