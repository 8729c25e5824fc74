"""What each of Stripe's failures means: the one table.

A failure counts as a refusal only if Stripe says so by type, code and parameter. Texts are never
read. All else is an unknown outcome: Stripe may have executed the call.
See https://docs.stripe.com/error-codes and https://docs.stripe.com/error-low-level.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from app.errors import CardRefused, Misconfigured, ParameterRefused, TokenRefused
from app.stripe_account.objects import Json
from app.stripe_account.outcomes import (
    CustomerGone,
    CustomerUnknown,
    EmailRefused,
    KeyMismatch,
    LookFirst,
    OutcomeUnknown,
    RateLimited,
    Retry,
    TooManyCards,
)

# The parameters by which a call can name the card: a token, or a PaymentMethod.
CARD_PARAMETERS = frozenset({"source", "payment_method", "card", "card[token]", "token"})
# Codes for what can be wrong with a token or PaymentMethod, besides those that begin with "token_".
TOKEN_CODES = frozenset(
    {
        "livemode_mismatch",
        "invalid_source",
        "source_already_used",
        "payment_method_unexpected_state",
    }
)
# Codes for a key that is not valid (any more), whatever the status.
KEY_CODES = frozenset(
    {"api_key_expired", "platform_api_key_expired", "account_invalid", "secret_key_required"}
)
# "true" if Stripe kept an answer and sends it again, so that nothing runs under the key any more.
# See "Sent idempotency" in https://docs.stripe.com/error-low-level.
REPLAYED = "Idempotent-Replayed"
SHOULD_RETRY = "Stripe-Should-Retry"
# Seconds until a caller may try again when Stripe is at a limit, unless Stripe names a time: long
# enough for a burst to pass a limit that counts by the second.
PAUSE = 5
# Stripe documents no `Retry-After`; a value above this many seconds is not believed.
LONGEST_PAUSE = 300
CODE = re.compile("[a-z0-9_]{1,100}")


@dataclass(frozen=True)
class Call:
    """One of the calls that this service makes.

    Attributes:
        right: what a restricted key needs for it, as Stripe's dashboard names it.
        names: whether it names a card token, a PaymentMethod, or neither.
        is_read: whether it only reads, so that nothing can be refused.
    """

    name: str
    right: str
    names: Literal["source", "payment_method", ""] = ""
    customer: bool = False
    is_read: bool = False


class Failure(NamedTuple):
    """An answer of Stripe that is not a success.

    Attributes:
        headers: without regard to case.
        body: parsed; None if it is not JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: object

    @property
    def error(self) -> Json | None:
        """The error in Stripe's form; None if something on the way to Stripe answered."""
        error = self.body.get("error") if isinstance(self.body, Mapping) else None
        is_stripes = isinstance(error, Mapping) and isinstance(error.get("type"), str)
        return error if is_stripes else None

    def member(self, name: str) -> str:
        """Return a member of the error; empty if there is none."""
        value = (self.error or {}).get(name)
        return value if isinstance(value, str) else ""

    def header(self, name: str) -> str:
        """Return a header; empty if there is none."""
        return self.headers.get(name) or self.headers.get(name.lower()) or ""


def reading(call: Call, failure: Failure) -> Exception:
    """Return what a failure means, as one of `app.stripe_account.outcomes`."""
    words = _words(failure)
    exception = _unknown(failure, words) or _refusal(call, failure, words)
    if exception is None:
        return ParameterRefused(f"{words}, parameter {failure.member('param') or 'not named'}")
    return exception


def _unknown(failure: Failure, words: str) -> OutcomeUnknown | None:
    """Return an unknown outcome, unless Stripe answered for certain."""
    status, code = failure.status, failure.member("code")
    is_stripes = failure.error is not None
    if is_stripes and (code == "rate_limit" or (status == 429 and code != "lock_timeout")):
        return RateLimited(words, _pause(failure))
    unknown_statuses = (408, 409, 424, 429)
    is_certain = is_stripes and 400 <= status < 500 and status not in unknown_statuses
    if status == 402:
        # "The card is refused" counts against the user, so it takes both the status and the type.
        is_certain = failure.member("type") == "card_error"
    if is_certain and code not in ("lock_timeout", "token_in_use"):
        return None
    should_retry = failure.header(SHOULD_RETRY)
    waits = should_retry == "false" or (status == 429 and should_retry != "true" and not is_stripes)
    return OutcomeUnknown(
        words,
        is_kept=failure.header(REPLAYED) == "true",
        maybe_executed=code != "lock_timeout",
        retry=Retry.LATER if waits else Retry.SOON,
        retry_after=_pause(failure) if waits else None,
    )


def _refusal(call: Call, failure: Failure, words: str) -> Exception | None:
    """Return what a certain answer means, or None for what no line of the table foresees."""
    kind, code, param = map(failure.member, ("type", "code", "param"))
    if kind == "idempotency_error":
        return KeyMismatch(words)
    if kind == "card_error":
        return CardRefused(
            code=plain(code) or None, decline_code=plain(failure.member("decline_code")) or None
        )
    if misconfigured := _misconfigured(call, failure, words):
        return misconfigured
    if code == "customer_max_payment_methods":
        return TooManyCards(words)
    if code == "resource_missing" and call.customer and param in ("id", "customer", ""):
        return CustomerUnknown(words, reason="customer") if call.is_read else CustomerGone(words)
    if param == "email":
        return EmailRefused(words)
    if code.startswith("token_") or code in TOKEN_CODES or _is_missing_card(call, code, param):
        return TokenRefused(code=plain(code) or None)
    if param == "source" and not code:
        return TokenRefused()
    is_silent = not code and not param and failure.status == 400
    # Attached to no customer, or to another one: reports of the parameter's name differ.
    is_default = code == "resource_missing" and "default_payment_method" in param
    if call.names == "payment_method" and (is_silent or is_default):
        return LookFirst(words)
    return None


def _misconfigured(call: Call, failure: Failure, words: str) -> Misconfigured | None:
    """Return what an operator must change, if it is that."""
    code = failure.member("code")
    if failure.status == 401 or code in KEY_CODES:
        return Misconfigured(f"Stripe does not accept STRIPE_SECRET_KEY: {words}", reason="key")
    if failure.status == 403:
        return Misconfigured(
            f"STRIPE_SECRET_KEY lacks a right, probably {call.right}: {words}", reason="right"
        )
    if code == "parameter_unknown" and failure.member("param") == "source":
        return Misconfigured(
            f"Stripe does not take `source` any more: set STRIPE_CARDS=payment_method ({words})",
            reason="source",
        )
    if code == "payment_method_unactivated":
        return Misconfigured(
            f"cards are not switched on for the account: {words}", reason="payment_method"
        )
    return None


def _is_missing_card(call: Call, code: str, param: str) -> bool:
    """Return whether Stripe does not have the card that the call names, in its path as `id`."""
    reads_card = call.is_read and not call.customer and param in ("id", "")
    return code == "resource_missing" and (param in CARD_PARAMETERS or reads_card)


def _words(failure: Failure) -> str:
    """Describe a failure without its text, which may repeat what was sent."""
    name = plain(failure.member("code")) or plain(failure.member("type"))
    what = name or "without an error of Stripe's"
    request = failure.header("Request-Id")
    return f"Stripe answered {failure.status} {what}, request {request or 'not named'}"


def _pause(failure: Failure) -> int:
    """Return the seconds to wait, with jitter, so that a crowd does not come back at once."""
    named = failure.header("Retry-After")
    least = min(int(named), LONGEST_PAUSE) if named.isdecimal() else PAUSE
    return least + random.randint(0, max(least, 1))


def plain(code: str) -> str:
    """Return a code of Stripe's if it has the form that the contract promises, else nothing."""
    return code if CODE.fullmatch(code) else ""
