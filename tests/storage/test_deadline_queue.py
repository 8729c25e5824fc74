"""Turns at the database: how long they are waited for, and whose is the next."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from app.errors import StorageUnavailable
from app.storage import deadline_queue
from app.storage.database import Database
from app.storage.deadline_queue import Turns
from app.telemetry import trace


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.fixture
def one() -> Turns:
    return Turns(1)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Give this thread's request so much time, or be no request."""
    was = trace._current.set(None)
    if seconds is not None:
        trace.begin("request", seconds, {})
    yield
    trace._current.reset(was)


def in_line(turns: Turns, threads: ThreadPoolExecutor, seconds: float, done: Any) -> Future[None]:
    """Let a request with so much time ask for a turn, and come back when it waits."""

    def take() -> None:
        with within(seconds), turns:
            done()

    number = len(turns._waiting) + 1
    asked = threads.submit(take)
    until = time.monotonic() + 10
    while len(turns._waiting) < number and time.monotonic() < until:
        time.sleep(0.001)
    assert len(turns._waiting) == number
    return asked


def test_least_time_left_goes_first(one: Turns, threads: ThreadPoolExecutor) -> None:
    order: list[float] = []
    with one:
        asked = [
            in_line(one, threads, seconds, lambda seconds=seconds: order.append(seconds))
            for seconds in (40.0, 20.0, 60.0, 30.0, 50.0)
        ]
    for each in asked:
        each.result(10)
    assert order == [20.0, 30.0, 40.0, 50.0, 60.0]


def test_turn_is_handed_on(one: Turns, threads: ThreadPoolExecutor) -> None:
    """Whoever asks at the very moment when a turn ends does not get it before those who wait."""
    order: list[str] = []
    with within(60.0):
        with one:
            asked = in_line(one, threads, 30.0, lambda: order.append("waited"))
        with one:
            order.append("came later")
    asked.result(10)
    assert order == ["waited", "came later"]


def test_turn_is_waited_for_as_long_as_the_request_has_time(
    one: Turns, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load a request is late rather than refused."""
    monkeypatch.setattr(deadline_queue, "LEAST_PATIENCE", 0.01)
    with one:
        patient = in_line(one, threads, 30.0, lambda: None)
        with within(0.0), pytest.raises(StorageUnavailable), one:
            pass
        assert not patient.done()
    patient.result(10)


def test_request_without_time_still_gets_a_moment(
    one: Turns, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Stripe has answered is written down, though nobody is told of it any more."""
    monkeypatch.setattr(deadline_queue, "LEAST_PATIENCE", 30.0)
    with one:
        late = in_line(one, threads, -1.0, lambda: None)
    late.result(10)


def test_without_a_request_a_turn_is_waited_for_too(
    one: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline_queue, "PATIENCE", 0.01)
    monkeypatch.setattr(deadline_queue, "LEAST_PATIENCE", 0.0)
    with one, within(None), pytest.raises(StorageUnavailable), one:
        pass
    with one:
        pass


def test_no_turn_is_lost_or_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one comes in the moment in which it is no longer waited for."""
    monkeypatch.setattr(deadline_queue, "LEAST_PATIENCE", 0.0)
    two = Turns(2)
    inside, most, taken = 0, 0, 0
    counting = threading.Lock()

    def hurry(number: int) -> None:
        nonlocal inside, most, taken
        for turn in range(300):
            try:
                with within((number + turn) % 7 * 0.0005), two:
                    with counting:
                        inside, taken = inside + 1, taken + 1
                        most = max(most, inside)
                    time.sleep(0.0005)
                    with counting:
                        inside -= 1
            except StorageUnavailable:
                pass

    with ThreadPoolExecutor(16) as crowd:
        list(crowd.map(hurry, range(16)))
    assert most == 2
    assert 0 < taken < 16 * 300
    with within(0.0), two, two:
        pass


def test_writers_take_turns(
    database: Database, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's writers wait for each other here, where they are woken, rather than there."""
    monkeypatch.setattr(deadline_queue, "LEAST_PATIENCE", 0.01)

    def write() -> None:
        with within(0.0), database.writing():
            pass

    with database.writing(), pytest.raises(StorageUnavailable) as told:
        threads.submit(write).result(10)
    assert told.value.inner == "no turn came"
    write()
