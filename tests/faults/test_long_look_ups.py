"""A look-up of several calls: it keeps its lease, and ends within the time of its request."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.records import Customer
from faults.scripted import FAULTS
from faults.simulated import Clock

from app.customers.timeouts import Timeouts
from app.errors import StripeUnavailable

OpenHouse = Callable[..., House]
# More customers than the five pages hold that come before the one that is looked for.
OTHERS = 450
PAGES = 5
DAY = 25 * 3600.0


@pytest.fixture
def house(open_house: OpenHouse, double: Double) -> House:
    """Return a house with an attempt whose customer is on the last of five pages."""
    house = open_house(call=5.0, request=20.0, lease=30.0)
    double.fail(FAULTS["reset after execution"], times=None)
    house.customers._timeouts = Timeouts(0.4, 2.0)
    with pytest.raises(StripeUnavailable):
        house.save(double.account.token())
    house.customers._timeouts = Timeouts(5.0, 20.0)
    double.heal()
    for number in range(OTHERS):
        one = Customer(f"cus_other{number}", int(time.time()), None, {}, "tok_visa")
        double.account.customers[one.id] = one
    double.account.forget_keys()
    house.grow_old(DAY)
    return house


def looks(double: Double) -> int:
    """Return how many pages were read."""
    return sum(call.request.method == "GET" for call in double.calls)


def test_lease_is_extended_before_each_further_call(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that, another process could take over in the middle of the list."""
    extended = []
    extend = house.attempts.extend

    def extending(attempt: Any) -> Any:
        extended.append(looks(double))
        return extend(attempt)

    monkeypatch.setattr(house.attempts, "extend", extending)
    sent_at = house.row().attempt_sent_at
    monkeypatch.setattr(house.attempts, "accept", lambda *_, **__: None)
    assert house.complete() == 1
    assert extended == [1, 2, 3, 4]
    assert looks(double) == PAGES
    # A look leaves nothing on its way to Stripe.
    assert house.row().attempt_sent_at == sent_at


def test_look_up_ends_when_another_process_has_taken_over(
    house: House, open_house: OpenHouse, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_house()
    extend = house.attempts.extend

    def overtaken(attempt: Any) -> Any:
        other.let_leases_expire()
        assert other.attempts.take_over(attempt.user_id, attempt.id)
        return extend(attempt)

    monkeypatch.setattr(house.attempts, "extend", overtaken)
    house.let_leases_expire()
    row = house.row()
    assert house.customers.complete(row.id, row.attempt_id, 1) == "overtaken"
    assert looks(double) == 1


def test_look_up_ends_within_the_time_of_its_request(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page takes a second here. Then the completer goes on, for which no caller waits."""
    clock, extend = Clock(), house.attempts.extend

    def later(attempt: Any) -> Any:
        clock.sleep(1.0)
        return extend(attempt)

    monkeypatch.setattr("app.customers.save_card.time", clock)
    monkeypatch.setattr("app.customers.settle.time", clock)
    monkeypatch.setattr(house.attempts, "extend", later)
    house.customers._timeouts = Timeouts(5.0, 2.5)
    house.let_leases_expire()
    with pytest.raises(StripeUnavailable):
        house.save("tok_visa")
    assert looks(double) == PAGES - 2
    assert house.row().attempt_id is not None
    assert house.complete() == 0
    assert looks(double) == 2 * PAGES - 2
    assert house.row().stripe_customer_id is not None
