"""Single flight: identical requests in one process at the same time share one execution."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs a function once for all threads that ask for the same key meanwhile.

    An impatient client sends a request again and again. Without this, each copy would poll the
    database for the end of the first one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_flight: dict[Hashable, Future[Result]] = {}

    def run(self, key: Hashable, function: Callable[[], Result], timeout: float) -> Result:
        """Return the function's result, or that of the thread that is already computing it.

        Args:
            key: equal keys share a result.
            function: its result or its exception goes to all threads that wait for the key.
            timeout: seconds to wait for another thread.

        Raises:
            TimeoutError: the other thread did not finish in time.
        """
        with self._lock:
            future = self._in_flight.get(key)
            if is_first := future is None:
                future = self._in_flight[key] = Future()
        if is_first:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
            finally:
                with self._lock:
                    del self._in_flight[key]
        try:
            return future.result(timeout)
        finally:
            # An exception's traceback refers to this frame, which would refer back to it.
            del future
