"""Keeps background calls to Stripe below its rate limits."""

import threading
import time

# Stripe allows 25 calls a second for each operation, such as creating a customer, and in a sandbox
# 25 in all (https://docs.stripe.com/rate-limits). Background work leaves the rest to callers.
CALLS_PER_SECOND = 20.0


class Pacer:
    """Spaces calls evenly, whichever thread makes them."""

    def __init__(self, stopping: threading.Event, per_second: float = CALLS_PER_SECOND) -> None:
        self._stopping = stopping
        self._interval = 1 / per_second
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> bool:
        """Wait for the next slot; returns False, at once, when it is time to stop."""
        with self._lock:
            slot = max(self._next, time.monotonic())
            self._next = slot + self._interval
        return not self._stopping.wait(slot - time.monotonic())
