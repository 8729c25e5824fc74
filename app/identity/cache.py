"""A cache of rows that each request needs, filled by one query at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from anyio import CapacityLimiter, to_thread

from app.errors import StorageUnavailable

# The most rows of one query, which stays short, and the most that are kept: some megabytes.
ROWS_AT_ONCE, ROWS_KEPT = 500, 10_000

Name = TypeVar("Name", bound=str | bytes)
Found = TypeVar("Found")
# A monotonic clock in seconds.
Ticks: TypeAlias = Callable[[], float]


class BatchingCache(Generic[Name, Found]):
    """Finds rows by name, and keeps them for some seconds.

    All callers that wait share the next query. So a flood of names that do not exist costs one
    connection and delays no other caller; such names are not kept.

    Args:
        query: Returns those of the names that exist; called in a thread.
        seconds: How long a row is kept, from when the query began.
    """

    def __init__(
        self, query: Callable[[Sequence[Name]], Mapping[Name, Found]], seconds: float, ticks: Ticks
    ) -> None:
        self._query = query
        self._seconds = seconds
        self._ticks = ticks
        self._kept: dict[Name, tuple[float, Found]] = {}
        self._waiting: dict[Name, asyncio.Future[Found | StorageUnavailable | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._thread = CapacityLimiter(1)

    async def find(self, name: Name) -> Found | None:
        """Return a row, or None where there is none of that name.

        Raises:
            StorageUnavailable: The database cannot be reached.
        """
        kept = self._kept.get(name)
        if kept and self._ticks() < kept[0]:
            return kept[1]
        if name not in self._waiting:
            self._waiting[name] = asyncio.get_running_loop().create_future()
            # It runs for all that wait, so it is not cancelled with the first of them.
            self._task = self._task or asyncio.create_task(self._run_queries())
        found = await asyncio.shield(self._waiting[name])
        if isinstance(found, StorageUnavailable):
            raise StorageUnavailable(inner=found.inner, retry_after=1)
        return found

    async def _run_queries(self) -> None:
        try:
            while names := list(islice(self._waiting, ROWS_AT_ONCE)):
                await self._run_query(names)
        finally:
            self._task = None
            while self._waiting:
                self._waiting.popitem()[1].cancel()

    async def _run_query(self, names: list[Name]) -> None:
        until = self._ticks() + self._seconds
        try:
            found = await to_thread.run_sync(self._query, names, limiter=self._thread)
        except Exception as error:
            inner = error.inner if isinstance(error, StorageUnavailable) else type(error).__name__
            failure = StorageUnavailable(inner=inner)
            for name in names:
                self._waiting.pop(name).set_result(failure)
            return
        for name in names:
            self._kept.pop(name, None)
            if name in found:
                self._kept[name] = (until, found[name])
            self._waiting.pop(name).set_result(found.get(name))
        while len(self._kept) > ROWS_KEPT:
            del self._kept[next(iter(self._kept))]
