"""A queue for the few slots at the database: the waiter with the earliest deadline is next."""

import heapq
import itertools
import threading
import time
from contextlib import AbstractContextManager

from app.errors import StorageUnavailable
from app.telemetry import trace

# A waiter's deadline, a number of its own, and a lock that is released to wake it.
Waiter = tuple[float, int, threading.Lock]

# How long a thread waits where no request sets a deadline, in seconds: the completer and commands
# have time, but a database that serves no thread for so long is as good as away.
TIMEOUT = 5.0
# How long a thread waits at least, in seconds: Stripe's answer is worth storing after the request's
# deadline, and in this time a slot at a working database becomes free many times.
LEAST_TIMEOUT = 1.0


class DeadlineQueue(AbstractContextManager[None]):
    """Slots that threads wait for, each until the deadline of its request.

    A plain semaphore is unfair under contention: some requests wait until they time out. This one
    hands each slot to the waiter with the earliest deadline, so requests that have already called
    Stripe are stored first.
    """

    def __init__(self, slots: int) -> None:
        self._lock = threading.Lock()
        self._free = slots
        self._waiting: list[Waiter] = []
        self._count = itertools.count()

    def __enter__(self) -> None:
        """Wait for a slot.

        Raises:
            StorageUnavailable: no slot became free in time.
        """
        timeout = max(trace.time_left(TIMEOUT), LEAST_TIMEOUT)
        with self._lock:
            if self._free:
                self._free -= 1
                return
            wake = threading.Lock()
            wake.acquire()
            waiter: Waiter = (time.monotonic() + timeout, next(self._count), wake)
            heapq.heappush(self._waiting, waiter)
        if not wake.acquire(timeout=timeout):
            self._give_up(waiter)

    def __exit__(self, *_: object) -> None:
        """Hand the slot to the next waiter."""
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[-1].release()
            else:
                self._free += 1

    def _give_up(self, waiter: Waiter) -> None:
        with self._lock:
            # It may have been handed the slot at the moment when its wait ended.
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                heapq.heapify(self._waiting)
                raise StorageUnavailable(inner="no slot at the database became free")
