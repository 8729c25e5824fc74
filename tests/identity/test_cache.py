"""Rows known for some seconds, with time standing still."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.issuer import Clock

from app.errors import StorageUnavailable
from app.identity.cache import BatchingCache

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def ticks() -> Clock:
    return Clock(0.0)


class Table:
    """Rows to look up, and a count of the queries."""

    def __init__(self) -> None:
        self.rows = {"a": 1, "b": 2}
        self.queries: list[list[str]] = []
        self.error: Exception | None = None
        self.meanwhile: Callable[[], None] = lambda: None

    def query(self, names: Any) -> dict[str, int]:
        self.queries.append(list(names))
        self.meanwhile()
        if self.error:
            raise self.error
        return {name: self.rows[name] for name in names if name in self.rows}


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def lookup(table: Table, ticks: Clock) -> BatchingCache[str, int]:
    return BatchingCache(table.query, 5.0, ticks)


async def test_a_row_is_kept_for_some_seconds(
    lookup: BatchingCache[str, int], table: Table, ticks: Clock
) -> None:
    assert await lookup.find("a") == 1
    table.rows["a"] = 10
    ticks.now = 4.9
    assert await lookup.find("a") == 1
    ticks.now = 5
    assert await lookup.find("a") == 10


async def test_a_row_is_kept_from_when_it_was_asked_for(
    lookup: BatchingCache[str, int], table: Table, ticks: Clock
) -> None:
    def slowly() -> None:
        ticks.now += 3

    table.meanwhile = slowly
    assert await lookup.find("a") == 1
    del table.rows["a"]
    ticks.now = 5
    assert await lookup.find("a") is None


async def test_a_row_that_is_gone_is_forgotten(
    lookup: BatchingCache[str, int], table: Table, ticks: Clock
) -> None:
    await lookup.find("a")
    del table.rows["a"]
    ticks.now = 5
    assert await lookup.find("a") is None
    assert not lookup._kept


async def test_names_that_do_not_exist_share_queries_and_are_not_kept(
    lookup: BatchingCache[str, int], table: Table
) -> None:
    searches: list[Awaitable[int | None]] = [lookup.find(f"guess-{n}") for n in range(1200)]
    found = await asyncio.gather(*searches, lookup.find("a"), lookup.find("guess-0"))
    assert found == [None] * 1200 + [1, None]
    assert [len(names) for names in table.queries] == [500, 500, 201]
    assert list(lookup._kept) == ["a"]
    assert not lookup._waiting


async def test_what_is_kept_is_bounded(
    lookup: BatchingCache[str, int], table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.identity.cache.ROWS_KEPT", 2)
    table.rows = dict.fromkeys("abcd", 1)
    for name in "abcd":
        await lookup.find(name)
    assert list(lookup._kept) == ["c", "d"]


async def test_one_who_gives_up_does_not_end_the_query_for_others(
    lookup: BatchingCache[str, int], table: Table
) -> None:
    impatient = asyncio.create_task(lookup.find("a"))
    patient = asyncio.create_task(lookup.find("a"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == 1
    assert len(table.queries) == 1


async def test_a_query_that_fails_fails_all_who_wait_and_no_one_later(
    lookup: BatchingCache[str, int], table: Table
) -> None:
    """Each gets an error of its own: a shared one would grow a trace with each who raises it."""
    table.error = OSError("no disk")
    failures = await asyncio.gather(
        lookup.find("a"), lookup.find("a"), lookup.find("b"), return_exceptions=True
    )
    assert [type(failure) for failure in failures] == [StorageUnavailable] * 3
    assert len({id(failure) for failure in failures}) == 3
    assert [getattr(failure, "inner", None) for failure in failures] == ["OSError"] * 3
    assert [getattr(failure, "retry_after", None) for failure in failures] == [1] * 3
    table.error = None
    assert await lookup.find("a") == 1


async def test_the_end_of_the_service_ends_those_who_wait(lookup: BatchingCache[str, int]) -> None:
    search = asyncio.create_task(lookup.find("a"))
    await asyncio.sleep(0)
    assert lookup._task is not None
    await asyncio.sleep(0)  # it has begun
    lookup._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    assert not lookup._waiting
    assert await lookup.find("a") == 1
