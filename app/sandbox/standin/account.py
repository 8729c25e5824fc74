"""Coord's account at the stand-in: its customers, cards and idempotency keys."""

import time
from collections.abc import Callable
from pathlib import Path

from app.sandbox.standin.customers import Customers
from app.sandbox.standin.keys import Keys
from app.sandbox.standin.limits import Limiter, Limits
from app.sandbox.standin.payment_methods import PaymentMethods
from app.sandbox.standin.state import State
from app.sandbox.standin.tokens import Tokens


class Account:
    """All that the stand-in does; safe among threads.

    Args:
        file: where the state survives a restart; nowhere if None.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        file: Path | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.state = state = State(file, clock)
        self.clock = clock
        self.limiter = Limiter(limits)
        self.keys = Keys(state)
        self.tokens = Tokens(state, sleep)
        self.payment_methods = PaymentMethods(state, self.tokens)
        self.customers = Customers(state, self.tokens, self.payment_methods)
