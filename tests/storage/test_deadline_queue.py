"""Slots at the database: how long threads wait for one, and which of them is next."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from app.errors import StorageUnavailable
from app.storage import deadline_queue
from app.storage.database import Database
from app.storage.deadline_queue import DeadlineQueue
from app.telemetry import trace


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.fixture
def one() -> DeadlineQueue:
    return DeadlineQueue(1)


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Run the block as part of a request with this many seconds left, or of no request."""
    was = trace._current.set(None)
    if seconds is not None:
        trace.begin("request", seconds, {})
    yield
    trace._current.reset(was)


def enqueue(
    queue: DeadlineQueue,
    threads: ThreadPoolExecutor,
    seconds: float,
    done: Callable[[], object] = lambda: None,
) -> Future[None]:
    """Have a request with this many seconds left wait for a slot; return once it waits."""

    def take() -> None:
        with within(seconds), queue:
            done()

    number = len(queue._waiting) + 1
    waiter = threads.submit(take)
    until = time.monotonic() + 10
    while len(queue._waiting) < number and time.monotonic() < until:
        time.sleep(0.001)
    assert len(queue._waiting) == number
    return waiter


def test_earliest_deadline_is_next(one: DeadlineQueue, threads: ThreadPoolExecutor) -> None:
    order: list[float] = []
    with one:
        waiters = [
            enqueue(one, threads, seconds, lambda seconds=seconds: order.append(seconds))
            for seconds in (40.0, 20.0, 60.0, 30.0, 50.0)
        ]
    for waiter in waiters:
        waiter.result(10)
    assert order == [20.0, 30.0, 40.0, 50.0, 60.0]


def test_slot_is_handed_to_a_waiter(one: DeadlineQueue, threads: ThreadPoolExecutor) -> None:
    """A thread that arrives at the moment when a slot becomes free does not overtake a waiter."""
    order: list[str] = []
    with within(60.0):
        with one:
            waiter = enqueue(one, threads, 30.0, lambda: order.append("waited"))
        with one:
            order.append("came later")
    waiter.result(10)
    assert order == ["waited", "came later"]


def test_wait_lasts_until_the_deadline(
    one: DeadlineQueue, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load a request is late rather than refused."""
    monkeypatch.setattr(deadline_queue, "LEAST_TIMEOUT", 0.01)
    with one:
        patient = enqueue(one, threads, 30.0)
        with within(0.0), pytest.raises(StorageUnavailable), one:
            pass
        assert not patient.done()
    patient.result(10)


def test_wait_has_a_least_length(
    one: DeadlineQueue, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe's answer is stored although its request's deadline has passed."""
    monkeypatch.setattr(deadline_queue, "LEAST_TIMEOUT", 30.0)
    with one:
        late = enqueue(one, threads, -1.0)
    late.result(10)


def test_wait_without_a_request_ends(one: DeadlineQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_queue, "TIMEOUT", 0.01)
    monkeypatch.setattr(deadline_queue, "LEAST_TIMEOUT", 0.0)
    with one, within(None), pytest.raises(StorageUnavailable), one:
        pass
    with one:
        pass


def test_no_slot_is_lost_or_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if a slot is handed over at the moment when its waiter gives up."""
    monkeypatch.setattr(deadline_queue, "LEAST_TIMEOUT", 0.0)
    two = DeadlineQueue(2)
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


def test_sqlite_writers_wait_in_the_queue(
    database: Database, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are woken here, where SQLite would have them sleep and look again."""
    monkeypatch.setattr(deadline_queue, "LEAST_TIMEOUT", 0.01)

    def write() -> None:
        with within(0.0), database.writing():
            pass

    with database.writing(), pytest.raises(StorageUnavailable) as raised:
        threads.submit(write).result(10)
    assert raised.value.inner == "no slot at the database became free"
    write()
