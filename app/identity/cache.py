"""Rows that each request needs, known for some seconds, with one query at a time for all."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

from app.errors import StorageUnavailable

# The most rows that one look-up asks for, and the most that are kept.
ROWS_AT_ONCE, ROWS_KEPT = 500, 10_000

Name = TypeVar("Name", bound=str | bytes)
Found = TypeVar("Found")


class Lookup(Generic[Name, Found]):
    """Finds rows by name, and knows them for some seconds.

    All who wait share one query at a time. So a flood of names that do not exist costs the
    database one connection, and delays nobody else; and none of them is kept.

    Args:
        query: gives those of the names that exist; called in a thread.
        seconds: how long a row is known, from when it was asked for.
        ticks: a clock that never goes back, in seconds.
    """

    def __init__(
        self,
        query: Callable[[Sequence[Name]], Mapping[Name, Found]],
        seconds: float,
        ticks: Callable[[], float],
    ) -> None:
        self._query = query
        self._seconds = seconds
        self._ticks = ticks
        self._known: dict[Name, tuple[float, Found]] = {}
        self._wanted: dict[Name, asyncio.Future[Found | StorageUnavailable | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._thread = CapacityLimiter(1)

    async def find(self, name: Name) -> Found | None:
        """Find a row.

        Raises:
            StorageUnavailable: the database cannot be asked.
        """
        known = self._known.get(name)
        if known and self._ticks() < known[0]:
            return known[1]
        if name not in self._wanted:
            self._wanted[name] = asyncio.get_running_loop().create_future()
            # It belongs to all who wait, so it is not cancelled with the first of them.
            self._task = self._task or asyncio.create_task(self._answer_all())
        found = await asyncio.shield(self._wanted[name])
        if isinstance(found, StorageUnavailable):
            raise StorageUnavailable(inner=found.inner, retry_after=1)
        return found

    async def _answer_all(self) -> None:
        try:
            while names := list(islice(self._wanted, ROWS_AT_ONCE)):
                await self._answer(names)
        finally:
            self._task = None
            while self._wanted:
                self._wanted.popitem()[1].cancel()

    async def _answer(self, names: list[Name]) -> None:
        until = self._ticks() + self._seconds
        try:
            found = await to_thread.run_sync(self._query, names, limiter=self._thread)
        except Exception as error:
            inner = error.inner if isinstance(error, StorageUnavailable) else type(error).__name__
            failure = StorageUnavailable(inner=inner)
            for name in names:
                self._wanted.pop(name).set_result(failure)
            return
        for name in names:
            self._known.pop(name, None)
            if name in found:
                self._known[name] = (until, found[name])
            self._wanted.pop(name).set_result(found.get(name))
        while len(self._known) > ROWS_KEPT:
            del self._known[next(iter(self._known))]
