"""Threads that run functions for an event loop, with one hand-over in each direction.

`run_in_executor` makes two futures, a condition and a queue item for each call, and wakes the loop
through all of them.
"""

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from app.errors import Overloaded

Result = TypeVar("Result")


class Threads(Generic[Result]):
    """Runs functions in threads, of which there are as many as were ever needed at once.

    Args:
        most: how many threads there are at most; further calls wait.
        name: of the threads, before a number.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._calls: SimpleQueue[_Call[Result] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        # Calls that run or wait.
        self._open = 0
        # Threads are daemons, as Python waits for others before it runs this.
        atexit.register(self.close)

    async def run(self, function: Callable[[], Result]) -> Result:
        """Return a function's result, or raise its exception.

        A call that is cancelled before a thread takes it is not made.

        Raises:
            Overloaded: there is no thread, and none can be started; the function is not called.
        """
        call = _Call(function)
        with self._lock:
            if len(self._threads) < min(self._open + 1, self._most):
                self._start_thread()
            self._open += 1
        self._calls.put(call)
        try:
            await call.done
        finally:
            with self._lock:
                self._open -= 1
        return call.result()

    def close(self) -> None:
        """Wait for the calls and the threads to end."""
        atexit.unregister(self.close)
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            # The system allows no more: calls wait for the threads that exist.
            if not self._threads:
                raise Overloaded(inner=str(error)) from error
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.make()
            # Else an idle thread would keep what the call refers to.
            del call


class _Call(Generic[Result]):
    def __init__(self, function: Callable[[], Result]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._result: list[Result] = []
        self._error: BaseException | None = None

    def make(self) -> None:
        """Call the function, in a thread, and wake the loop."""
        if self.done.cancelled():
            return
        try:
            self._result.append(self._function())
        except BaseException as error:
            self._error = error
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no caller waits
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def result(self) -> Result:
        error, self._error = self._error, None
        if error is None:
            return self._result[0]
        try:
            raise error
        finally:
            # Its traceback refers to this frame, which would refer back to it.
            del error
