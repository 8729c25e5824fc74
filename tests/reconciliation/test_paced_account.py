"""Long work at Stripe: paced, and patient."""

import threading
import time
from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
from support.reconciling import silent, stray, unpaced

from app.customers.pacer import Pacer
from app.reconciliation import paced_account
from app.reconciliation.paced_account import PacedAccount, side_by_side
from app.stripe_account.account import CustomerGone, OutcomeUnknown


class CountingPacer(Pacer):
    """Counts the slots that are taken."""

    def __init__(self) -> None:
        super().__init__(threading.Event(), 1e6)
        self.slots = 0

    def wait(self) -> bool:
        self.slots += 1
        return super().wait()


def listed(account: PacedAccount) -> list[str]:
    pages = account.pages(0.0, time.time() + 100)
    return [customer.id for page in pages for customer in page]


def test_each_call_takes_a_slot_and_a_change_takes_two(house: House, double: Double) -> None:
    """So at least half of Stripe's limit for changes is left to the service."""
    pacer = CountingPacer()
    account = PacedAccount(house.stripe, silent, pacer)
    customer_id = stray(double.account)
    account.retrieve(customer_id)
    assert pacer.slots == 1
    account.set_metadata(customer_id, {"a": "b"})
    assert pacer.slots == 3
    account.delete(customer_id)
    assert pacer.slots == 5
    for _ in range(250):
        stray(double.account)
    assert len(listed(account)) == 250
    assert pacer.slots <= 5 + 4


def test_pace_is_20_calls_a_second(house: House, double: Double) -> None:
    """Whichever threads make them."""
    account = PacedAccount(house.stripe, silent)
    customer_id = stray(double.account)
    began = time.monotonic()
    assert len(list(side_by_side(account.retrieve, [customer_id] * 10))) == 10
    assert time.monotonic() - began >= 9 / 20


@pytest.mark.parametrize("fault", ["503", "429", "reset before execution", "truncated JSON"])
def test_call_is_repeated(house: House, double: Double, fault: str) -> None:
    """At first soon; and not for ever."""
    account = unpaced(house)
    customer_id = stray(double.account)
    repeats = len(paced_account.PAUSES)
    double.fail(FAULTS[fault], times=repeats, method="GET")
    if fault == "429":
        double.heal()
        limited = stripe_error(429, "rate_limit")
        double.fail(Fault(executed=False, answer=limited), times=0, method="GET")
    assert account.retrieve(customer_id).id == customer_id
    double.fail(FAULTS["503"], times=repeats + 1, method="GET")
    with pytest.raises(OutcomeUnknown):
        account.retrieve(customer_id)


def test_pause_that_stripe_asks_for_is_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    monkeypatch.setattr("app.reconciliation.paced_account.time.sleep", paused.append)
    failures = iter([OutcomeUnknown("slow down", retry_after=7), OutcomeUnknown("again")])

    def retrieve(customer_id: str, timeout: float) -> Any:
        if failure := next(failures, None):
            raise failure
        raise CustomerGone

    monkeypatch.setattr(house.stripe, "retrieve", retrieve)
    shown: list[str] = []
    account = PacedAccount(house.stripe, shown.append, CountingPacer())
    with pytest.raises(CustomerGone):
        account.retrieve("cus_1")
    assert paused == [7, 0.01]
    assert shown == ["slow down; the next attempt is in 7 s"]


def test_list_goes_on_after_a_failure(house: House, double: Double) -> None:
    """Each customer is on it once, also where many were created in one second."""
    expected = [stray(double.account, age=age) for age in [50] * 150 + [40] * 3 + [30] * 150]
    double.on_executed = None
    calls = 0
    created_between = house.stripe.created_between

    def failing(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        for number, customer in enumerate(created_between(*args, **options)):
            if number == 100 and calls in (1, 2, 4):
                raise OutcomeUnknown("no answer")
            yield customer

    house.stripe.created_between = failing  # type: ignore[method-assign]
    found = listed(unpaced(house))
    assert calls >= 3
    assert sorted(found) == sorted(expected)


def test_list_goes_on_although_a_customer_is_deleted(house: House, double: Double) -> None:
    """Stripe goes on from the last customer of a page, which may not be there any more."""
    expected = [stray(double.account, age=300 - number) for number in range(250)]
    pages = unpaced(house).pages(0.0, time.time() + 100)
    found = next(pages)
    double.account.delete(found[-1].id)
    for page in pages:
        found += page
    assert sorted(one.id for one in found) == sorted(expected)


def test_list_that_never_goes_on_ends(house: House, double: Double) -> None:
    for _ in range(150):
        stray(double.account)
    created_between = house.stripe.created_between

    def failing(*args: Any, **options: Any) -> Any:
        for number, customer in enumerate(created_between(*args, **options)):
            if number == 100:
                raise OutcomeUnknown("no answer")
            yield customer

    house.stripe.created_between = failing  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        listed(unpaced(house))


def test_side_by_side_keeps_the_order_and_ends_at_a_failure() -> None:
    """Nothing is begun after it."""
    begun: list[int] = []

    def double(number: int) -> int:
        begun.append(number)
        if number == 20:
            raise ValueError(number)
        return 2 * number

    results = side_by_side(double, iter(range(1000)))
    assert [next(results) for _ in range(20)] == [2 * number for number in range(20)]
    with pytest.raises(ValueError, match="20"):
        next(results)
    assert len(begun) < 60
