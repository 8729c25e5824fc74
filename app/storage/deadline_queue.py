"""Turns at the database, which few may use at once: whoever has the least time left goes first."""

import heapq
import itertools
import threading
import time
from contextlib import AbstractContextManager

from app.errors import StorageUnavailable
from app.telemetry import trace

# Until when somebody waits, a number of their own, and a lock that is free when their turn comes.
Place = tuple[float, int, threading.Lock]

# How long a thread waits, in seconds, where no request says how much time is left.
PATIENCE = 5.0
# The least that it waits: Stripe's answer is worth keeping after the request's time.
LEAST_PATIENCE = 1.0


class Turns(AbstractContextManager[None]):
    """Turns among threads; each waits for as long as its request has time.

    A semaphore's turn goes to whoever asks at the right moment: in a crowd some wait until they are
    refused, and all wake in vain. Here a turn that ends is handed on, to the oldest request as a
    rule, so that what it has had done at Stripe is written down before others begin.

    Args:
        number: of those who may at once.
    """

    def __init__(self, number: int) -> None:
        self._lock = threading.Lock()
        self._free = number
        self._waiting: list[Place] = []
        self._count = itertools.count()

    def __enter__(self) -> None:
        """Wait for a turn.

        Raises:
            StorageUnavailable: none came in time.
        """
        patience = max(trace.time_left(PATIENCE), LEAST_PATIENCE)
        with self._lock:
            if self._free:
                self._free -= 1
                return
            come = threading.Lock()
            come.acquire()
            place: Place = (time.monotonic() + patience, next(self._count), come)
            heapq.heappush(self._waiting, place)
        if not come.acquire(timeout=patience):
            self._leave(place)

    def __exit__(self, *_: object) -> None:
        """Hand the turn on."""
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[-1].release()
            else:
                self._free += 1

    def _leave(self, place: Place) -> None:
        with self._lock:
            # It may have been this one's turn in the very moment.
            if place in self._waiting:
                self._waiting.remove(place)
                heapq.heapify(self._waiting)
                raise StorageUnavailable(inner="no turn came")
