"""Long work at Stripe: paced, and patient."""

import threading
import time
from typing import Any

import pytest
from faults.call_faults import FAULTS, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
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


def test_each_call_takes_a_slot_and_a_change_takes_two(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """So at least half of Stripe's limit for changes is left to the service."""
    pacer = CountingPacer()
    account = PacedAccount(instance.stripe, silent, pacer)
    customer_id = stray(fake_stripe.account)
    account.retrieve(customer_id)
    assert pacer.slots == 1
    account.set_metadata(customer_id, {"a": "b"})
    assert pacer.slots == 3
    account.delete(customer_id)
    assert pacer.slots == 5
    for _ in range(250):
        stray(fake_stripe.account)
    assert len(listed(account)) == 250
    assert pacer.slots <= 5 + 4


def test_pace_is_20_calls_a_second(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Whichever threads make them."""
    account = PacedAccount(instance.stripe, silent)
    customer_id = stray(fake_stripe.account)
    began = time.monotonic()
    assert len(list(side_by_side(account.retrieve, [customer_id] * 10))) == 10
    assert time.monotonic() - began >= 9 / 20


@pytest.mark.parametrize("fault", ["503", "429", "reset before execution", "truncated JSON"])
def test_call_is_repeated(instance: Instance, fake_stripe: FakeStripe, fault: str) -> None:
    """At first soon; and not for ever."""
    account = unpaced(instance)
    customer_id = stray(fake_stripe.account)
    repeats = len(paced_account.PAUSES)
    fake_stripe.fail(FAULTS[fault], times=repeats, method="GET")
    if fault == "429":
        fake_stripe.heal()
        limited = stripe_error(429, "rate_limit")
        fake_stripe.fail(Fault(executed=False, answer=limited), times=0, method="GET")
    assert account.retrieve(customer_id).id == customer_id
    fake_stripe.fail(FAULTS["503"], times=repeats + 1, method="GET")
    with pytest.raises(OutcomeUnknown):
        account.retrieve(customer_id)


def test_pause_that_stripe_asks_for_is_kept(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr("app.reconciliation.paced_account.time.sleep", paused.append)
    failures = iter([OutcomeUnknown("slow down", retry_after=7), OutcomeUnknown("again")])

    def retrieve(customer_id: str, timeout: float) -> Any:
        if failure := next(failures, None):
            raise failure
        raise CustomerGone

    monkeypatch.setattr(instance.stripe, "retrieve", retrieve)
    shown: list[str] = []
    account = PacedAccount(instance.stripe, shown.append, CountingPacer())
    with pytest.raises(CustomerGone):
        account.retrieve("cus_1")
    assert paused == [7, 0.01]
    assert shown == ["slow down; the next attempt is in 7 s"]


def test_list_goes_on_after_a_failure(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Each customer is on it once, also where many were created in one second."""
    expected = [stray(fake_stripe.account, age=age) for age in [50] * 150 + [40] * 3 + [30] * 150]
    fake_stripe.on_executed = None
    calls = 0
    created_between = instance.stripe.created_between

    def failing(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        for number, customer in enumerate(created_between(*args, **options)):
            if number == 100 and calls in (1, 2, 4):
                raise OutcomeUnknown("no answer")
            yield customer

    instance.stripe.created_between = failing  # type: ignore[method-assign]
    found = listed(unpaced(instance))
    assert calls >= 3
    assert sorted(found) == sorted(expected)


def test_list_goes_on_although_a_customer_is_deleted(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Stripe goes on from the last customer of a page, which may not be there any more."""
    expected = [stray(fake_stripe.account, age=300 - number) for number in range(250)]
    pages = unpaced(instance).pages(0.0, time.time() + 100)
    found = next(pages)
    fake_stripe.account.delete(found[-1].id)
    for page in pages:
        found += page
    assert sorted(one.id for one in found) == sorted(expected)


def test_list_that_never_goes_on_ends(instance: Instance, fake_stripe: FakeStripe) -> None:
    for _ in range(150):
        stray(fake_stripe.account)
    created_between = instance.stripe.created_between

    def failing(*args: Any, **options: Any) -> Any:
        for number, customer in enumerate(created_between(*args, **options)):
            if number == 100:
                raise OutcomeUnknown("no answer")
            yield customer

    instance.stripe.created_between = failing  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        listed(unpaced(instance))


def test_side_by_side_keeps_the_order_and_ends_at_a_failure() -> None:
    """Nothing is begun after it."""
    begun: list[int] = []

    def twice(number: int) -> int:
        begun.append(number)
        if number == 20:
            raise ValueError(number)
        return 2 * number

    results = side_by_side(twice, iter(range(1000)))
    assert [next(results) for _ in range(20)] == [2 * number for number in range(20)]
    with pytest.raises(ValueError, match="20"):
        next(results)
    assert len(begun) < 60
