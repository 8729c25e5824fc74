"""One answer for all in this process who ask the same at the same time."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """Lets the first thread that asks find the answer, and gives it to those who come meanwhile.

    A caller's impatient app sends a request again and again; without this, each of them would ask
    the database over and over whether the first has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[Answer]] = {}

    def answer(self, question: Hashable, find: Callable[[], Answer], patience: float) -> Answer:
        """Find the answer, or wait for whoever does.

        Args:
            question: those who ask an equal one share an answer.
            find: gives the answer, or raises what all are told.
            patience: seconds to wait for another's answer.

        Raises:
            TimeoutError: nobody had found it by then.
        """
        with self._lock:
            found = self._under_way.get(question)
            if is_first := found is None:
                found = self._under_way[question] = Future()
        if is_first:
            try:
                found.set_result(find())
            except BaseException as error:
                found.set_exception(error)
            finally:
                with self._lock:
                    del self._under_way[question]
        try:
            return found.result(patience)
        finally:
            # An error leads by its traceback to this frame, and from here would to itself.
            del found
