"""Stripe's rate limits, as the stand-in plays them (https://docs.stripe.com/rate-limits)."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

from app.sandbox.standin.problems import StripeProblem

SECOND = 1.0


class Limits(NamedTuple):
    """How many requests a second Stripe executes: of the account, and of each operation."""

    account: int
    operation: int


# Reads and writes together; of the named operations, creating a customer is one, updating one is
# another, attaching a PaymentMethod another.
LIVE = Limits(account=100, operation=25)
SANDBOX = Limits(account=25, operation=25)


class Limiter:
    """Refuses requests above the limits, counted in the second before.

    Args:
        clock: seconds, of a clock that never goes back.
    """

    def __init__(
        self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._executed: dict[str, deque[float]] = defaultdict(deque)

    def admit(self, operation: str) -> None:
        """Count a request.

        Raises:
            StripeProblem: 429, because one of the limits is reached.
        """
        if self._limits is None:
            return
        now = self._clock()
        with self._lock:
            of_account, of_operation = self._executed[""], self._executed[operation]
            for times in (of_account, of_operation):
                while times and times[0] <= now - SECOND:
                    times.popleft()
            if len(of_account) >= self._limits.account:
                raise _too_many("global-rate")
            if len(of_operation) >= self._limits.operation:
                raise _too_many("endpoint-rate")
            of_account.append(now)
            of_operation.append(now)


def _too_many(reason: str) -> StripeProblem:
    return StripeProblem(
        429,
        "Request rate limit exceeded.",
        headers={"Stripe-Should-Retry": "false", "Stripe-Rate-Limited-Reason": reason},
        code="rate_limit",
    )
