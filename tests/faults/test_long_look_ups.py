"""A look-up of several calls: it keeps its lease, and ends within the time of its request."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.records import Customer
from faults.simulated import Clock

from app.customers.timeouts import Timeouts
from app.errors import StripeUnavailable

OpenInstance = Callable[..., Instance]
# More customers than the five pages hold that come before the one that is looked for.
OTHERS = 450
PAGES = 5
DAY = 25 * 3600.0


@pytest.fixture
def instance(open_instance: OpenInstance, fake_stripe: FakeStripe) -> Instance:
    """Return an instance with an attempt whose customer is on the last of five pages."""
    instance = open_instance(call=5.0, request=20.0, lease=30.0)
    fake_stripe.fail(FAULTS["reset after execution"], times=None)
    instance.customers._timeouts = Timeouts(0.4, 2.0)
    with pytest.raises(StripeUnavailable):
        instance.save(fake_stripe.account.token())
    instance.customers._timeouts = Timeouts(5.0, 20.0)
    fake_stripe.heal()
    for number in range(OTHERS):
        one = Customer(f"cus_other{number}", int(time.time()), None, {}, "tok_visa")
        fake_stripe.account.customers[one.id] = one
    fake_stripe.account.forget_keys()
    instance.grow_old(DAY)
    return instance


def looks(fake_stripe: FakeStripe) -> int:
    """Return how many pages were read."""
    return sum(call.request.method == "GET" for call in fake_stripe.calls)


def test_lease_is_extended_before_each_further_call(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that, another process could take over in the middle of the list."""
    extended = []
    extend = instance.attempts.extend

    def extending(attempt: Any) -> Any:
        extended.append(looks(fake_stripe))
        return extend(attempt)

    monkeypatch.setattr(instance.attempts, "extend", extending)
    sent_at = instance.row().attempt_sent_at
    monkeypatch.setattr(instance.attempts, "accept", lambda *_, **__: None)
    assert instance.complete() == 1
    assert extended == [1, 2, 3, 4]
    assert looks(fake_stripe) == PAGES
    # A look leaves nothing on its way to Stripe.
    assert instance.row().attempt_sent_at == sent_at


def test_look_up_ends_when_another_process_has_taken_over(
    instance: Instance,
    open_instance: OpenInstance,
    fake_stripe: FakeStripe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = open_instance()
    extend = instance.attempts.extend

    def overtaken(attempt: Any) -> Any:
        other.let_leases_expire()
        assert other.attempts.take_over(attempt.user_id, attempt.id)
        return extend(attempt)

    monkeypatch.setattr(instance.attempts, "extend", overtaken)
    instance.let_leases_expire()
    row = instance.row()
    assert instance.customers.complete(row.id, row.attempt_id, 1) == "overtaken"
    assert looks(fake_stripe) == 1


def test_look_up_ends_within_the_time_of_its_request(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page takes a second here. Then the completer goes on, for which no caller waits."""
    clock, extend = Clock(), instance.attempts.extend

    def later(attempt: Any) -> Any:
        clock.sleep(1.0)
        return extend(attempt)

    monkeypatch.setattr("app.customers.save_card.time", clock)
    monkeypatch.setattr("app.customers.settle.time", clock)
    monkeypatch.setattr(instance.attempts, "extend", later)
    instance.customers._timeouts = Timeouts(5.0, 2.5)
    instance.let_leases_expire()
    with pytest.raises(StripeUnavailable):
        instance.save("tok_visa")
    assert looks(fake_stripe) == PAGES - 2
    assert instance.row().attempt_id is not None
    assert instance.complete() == 0
    assert looks(fake_stripe) == 2 * PAGES - 2
    assert instance.row().stripe_customer_id is not None
