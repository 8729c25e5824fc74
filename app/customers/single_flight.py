"""Single flight: identical requests in one process at the same time share one execution."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

Result = TypeVar("Result")


class AsOf(NamedTuple, Generic[Result]):
    """A result, and the time by `time.monotonic` at which it was true for certain."""

    result: Result
    time: float


class SingleFlight(Generic[Result]):
    """Runs a function once for all threads that ask for the same key meanwhile.

    An impatient client sends a request again and again. Without this, each copy would poll the
    database for the end of the first one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight: dict[Hashable, Future[AsOf[Result]]] = {}

    def run(self, key: Hashable, function: Callable[[], AsOf[Result]], timeout: float) -> Result:
        """Return the function's result, or that of the thread that is already computing it.

        A thread that asked only after the time at which that result was true asks again: what was
        true then may have changed before this thread asked.

        Args:
            function: its result or its exception goes to all threads that wait for the key.
            timeout: seconds to wait for other threads.

        Raises:
            TimeoutError: the other threads did not finish in time.
        """
        asked = time.monotonic()
        while True:
            with self._lock:
                future = self._in_flight.get(key)
                if is_first := future is None:
                    future = self._in_flight[key] = Future()
            if is_first:
                self._execute(key, function, future)
            try:
                shared = future.result(asked + timeout - time.monotonic())
            finally:
                # An exception's traceback refers to this frame, which would refer back to it.
                del future
            if is_first or asked <= shared.time:
                return shared.result

    def _execute(
        self, key: Hashable, function: Callable[[], AsOf[Result]], future: Future[AsOf[Result]]
    ) -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                del self._in_flight[key]
            # As above.
            del future
