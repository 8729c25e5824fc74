"""One execution for identical requests at the same time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.customers.single_flight import AsOf, SingleFlight


def now(customer_id: str) -> AsOf[str]:
    return AsOf(customer_id, time.monotonic())


class Held:
    """Returns its result once it is released; it is true as of then, or as of its beginning."""

    def __init__(self, *, true_at_first: bool = False) -> None:
        self.executions = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._true_at_first = true_at_first

    def __call__(self) -> AsOf[str]:
        self.executions += 1
        first = now("cus_1")
        self.begun.set()
        assert self.go_on.wait(10)
        return first if self._true_at_first else now("cus_1")


@pytest.fixture
def shared() -> SingleFlight[str]:
    return SingleFlight()


def test_identical_requests_share_one_execution(shared: SingleFlight[str]) -> None:
    held = Held()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.run, "token", held, 10)
        assert held.begun.wait(10)
        second = threads.submit(shared.run, "token", held, 10)
        assert shared.run("another", lambda: now("cus_2"), 10) == "cus_2"
        held.go_on.set()
        assert first.result(10) == second.result(10) == "cus_1"
    assert held.executions == 1


def test_later_request_executes_anew(shared: SingleFlight[str]) -> None:
    """Nothing is kept: what was true then may not be now."""
    assert shared.run("token", lambda: now("cus_1"), 10) == "cus_1"
    assert shared.run("token", lambda: now("cus_2"), 10) == "cus_2"


def test_exception_is_raised_for_all_and_not_kept(shared: SingleFlight[str]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> AsOf[str]:
        begun.set()
        assert go_on.wait(10)
        raise LookupError

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.run, "token", fail, 10)
        assert begun.wait(10)
        second = threads.submit(shared.run, "token", fail, 10)
        go_on.set()
        for each in (first, second):
            with pytest.raises(LookupError):
                each.result(10)
    assert shared.run("token", lambda: now("cus_1"), 10) == "cus_1"


def test_wait_ends_at_the_timeout(shared: SingleFlight[str]) -> None:
    held = Held()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(shared.run, "token", held, 10)
        assert held.begun.wait(10)
        with pytest.raises(TimeoutError):
            shared.run("token", held, 0.01)
        held.go_on.set()
        assert first.result(10) == "cus_1"


def test_request_that_came_after_the_result_was_true_executes_anew(
    shared: SingleFlight[str],
) -> None:
    """Another card may have been saved between that time and this request."""
    held = Held(true_at_first=True)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.run, "token", held, 10)
        assert held.begun.wait(10)
        joined = threading.Event()

        def late() -> str:
            joined.set()
            return shared.run("token", lambda: now("cus_2"), 10)

        second = threads.submit(late)
        assert joined.wait(10)
        held.go_on.set()
        assert first.result(10) == "cus_1"
        assert second.result(10) == "cus_2"
