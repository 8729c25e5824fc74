"""What a call to Stripe can come to besides success, as exceptions.

    CardRefused          the bank or Stripe refused the card; nothing was made or changed
    TokenRefused         the token or PaymentMethod cannot be used; nothing was made or changed
    EmailRefused         the e-mail address is not valid; nothing was made or changed
    Misconfigured        an operator must act, then the same call succeeds
    |-- CustomerUnknown  this account does not have the customer: another account, the other mode
    ParameterRefused     a defect of this service; nothing was made or changed
    |-- TooManyCards     the customer has as many PaymentMethods as Stripe allows
    CustomerGone         the customer was deleted
    KeyMismatch          the idempotency key was used with other parameters
    OutcomeUnknown       Stripe may have executed the call
    |-- RateLimited      Stripe did not execute it: one of its rate limits is reached
    |-- LookFirst        the answer does not tell; what Stripe has now does

The first five that a caller can meet are in `app.errors`, as each has an HTTP status.
"""

import enum

from app.errors import Misconfigured, ParameterRefused


class Retry(enum.Enum):
    """When the same call, with the same idempotency key, may be sent again."""

    SOON = "within the same request, after a short pause"
    LATER = "not within the same request"


class OutcomeUnknown(Exception):
    """Raised if Stripe may or may not have executed a call.

    Args:
        reason: for the log and for `coord-users check`; contains no secret.
        is_kept: whether Stripe replays this failure for the idempotency key, so that no execution
            under this key is under way any more.
        maybe_executed: False if Stripe certainly did not execute the call.
        retry: when the call may be sent again.
        retry_after: seconds after which the caller may send its request again; None if Stripe's
            answer is no reason for more than the usual pause.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_kept: bool = False,
        maybe_executed: bool = True,
        retry: Retry = Retry.SOON,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.is_kept = is_kept
        self.maybe_executed = maybe_executed
        self.retry = retry
        self.retry_after = retry_after


class RateLimited(OutcomeUnknown):
    """Raised if Stripe did not execute a call because a rate limit is reached.

    https://docs.stripe.com/rate-limits
    """

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason, maybe_executed=False, retry=Retry.LATER, retry_after=retry_after)


class LookFirst(OutcomeUnknown):
    """Raised if an answer does not tell what happened, but the PaymentMethod or token does.

    Stripe answers "attached already" and "used before" with neither code nor parameter. Retrieve
    the PaymentMethod, or the token that it is made from, and decide by what it is now. The same
    call with the same key gets the same answer.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason, is_kept=True, retry=Retry.LATER)


class KeyMismatch(Exception):
    """Raised if Stripe knows the idempotency key with other parameters."""


class EmailRefused(Exception):
    """Raised if Stripe does not accept the e-mail address as valid."""


class CustomerGone(Exception):
    """Raised if the customer was deleted.

    Only `StripeAccount.retrieve` can know that: raised by any other call, it means that Stripe did
    not find the customer, which `retrieve` must confirm.
    """


class CustomerUnknown(Misconfigured):
    """Raised if this account and mode never had the customer that is retrieved.

    A deleted customer can still be retrieved (https://docs.stripe.com/api/customers/delete), so the
    key is another account's or the other mode's, or the id is wrong. In test mode it can also
    mean that the test data was deleted.
    """


class TooManyCards(ParameterRefused):
    """Raised if the customer has as many PaymentMethods as Stripe allows: detach old ones."""
