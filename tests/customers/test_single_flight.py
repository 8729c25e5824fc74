"""One answer for all who ask the same at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.customers.single_flight import SingleFlight


class Held:
    """Finds an answer when it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.asked += 1
        self.begun.set()
        assert self.go_on.wait(10)
        return "cus_1"


@pytest.fixture
def shared() -> SingleFlight[str]:
    return SingleFlight()


def test_those_who_ask_meanwhile_get_the_same_answer(shared: SingleFlight[str]) -> None:
    held = Held()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.run, "token", held, 10)
        assert held.begun.wait(10)
        second = threads.submit(shared.run, "token", held, 10)
        assert shared.run("another", lambda: "cus_2", 10) == "cus_2"
        held.go_on.set()
        assert first.result(10) == second.result(10) == "cus_1"
    assert held.asked == 1


def test_who_asks_later_asks_anew(shared: SingleFlight[str]) -> None:
    """Nothing is kept: what was true then may not be now."""
    assert shared.run("token", lambda: "cus_1", 10) == "cus_1"
    assert shared.run("token", lambda: "cus_2", 10) == "cus_2"


def test_failure_is_told_to_all_and_not_kept(shared: SingleFlight[str]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> str:
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
    assert shared.run("token", lambda: "cus_1", 10) == "cus_1"


def test_nobody_waits_longer_than_it_may(shared: SingleFlight[str]) -> None:
    held = Held()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(shared.run, "token", held, 10)
        assert held.begun.wait(10)
        with pytest.raises(TimeoutError):
            shared.run("token", held, 0.01)
        held.go_on.set()
        assert first.result(10) == "cus_1"
