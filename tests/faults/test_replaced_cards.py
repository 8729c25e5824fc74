"""A card that was replaced is detached, and not saved again meanwhile."""

import threading

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS

from app.customers import replaced_cards
from app.customers.pacer import Pacer
from app.errors import TokenRefused


@pytest.fixture
def pacer() -> Pacer:
    return Pacer(threading.Event(), per_second=1e6)


def replaced(house: House, double: Double) -> tuple[str, str]:
    """Return the customer and the card that was replaced."""
    double.account.sends = "pm"
    old = double.account.token()
    house.save(old)
    return house.save(double.account.token()), old


def test_replaced_card_is_detached(house: House, double: Double, pacer: Pacer) -> None:
    """The new one stays, and nothing is left to be done."""
    customer_id, old = replaced(house, double)
    house.replaced_cards.detach(pacer)
    [left] = double.account.payment_methods.attached(customer_id)
    assert left.id != old
    calls = len(double.calls)
    house.replaced_cards.detach(pacer)
    assert len(double.calls) == calls
    assert house.audit().is_clean, house.audit()


def test_replaced_card_that_is_the_default_again_stays(
    house: House, double: Double, pacer: Pacer
) -> None:
    customer_id, old = replaced(house, double)
    double.account.customers[customer_id].default_pm = old
    house.replaced_cards.detach(pacer)
    assert double.account.payment_methods.by_id[old].customer == customer_id


def test_replaced_card_of_a_deleted_customer(house: House, double: Double, pacer: Pacer) -> None:
    customer_id, _ = replaced(house, double)
    double.account.delete(customer_id)
    house.replaced_cards.detach(pacer)
    assert house.upkeep.replaced_cards(10) == []


def test_replaced_card_is_tried_again_later(house: House, double: Double, pacer: Pacer) -> None:
    """Stripe fails, or it is time to stop: the row still names the card."""
    replaced(house, double)
    double.fail(FAULTS["503"], times=None, method="GET")
    house.replaced_cards.detach(pacer)
    assert len(house.upkeep.replaced_cards(10)) == 1
    stopping = threading.Event()
    stopping.set()
    house.replaced_cards.detach(Pacer(stopping))
    assert len(house.upkeep.replaced_cards(10)) == 1


def test_replaced_card_is_not_saved_again(house: House, double: Double, pacer: Pacer) -> None:
    """It may be on the point of being detached: the answer would not last."""
    _, old = replaced(house, double)
    newest = house.row().payment_method_id
    with pytest.raises(TokenRefused) as refused:
        house.save(old)
    assert refused.value.code == "token_already_used"
    house.replaced_cards.detach(pacer)
    with pytest.raises(TokenRefused):
        house.save(old)
    assert house.row().payment_method_id == newest
    assert house.audit().is_clean, house.audit()


def test_row_that_fails_by_itself_holds_up_no_other(
    house: House, double: Double, pacer: Pacer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its customer is unknown to the account; it is tried again once all others were."""
    monkeypatch.setattr(replaced_cards, "MOST_IN_A_ROUND", 1)
    customer_id, _ = replaced(house, double)
    kept = double.account.customers.pop(customer_id)
    house.save(double.account.token(), "user-2")
    house.save(double.account.token(), "user-2")
    for _ in range(3):
        house.replaced_cards.detach(pacer)
    assert [row.stripe_customer_id for row in house.upkeep.replaced_cards(10)] == [customer_id]
    double.account.customers[customer_id] = kept
    for _ in range(2):
        house.replaced_cards.detach(pacer)
    assert house.upkeep.replaced_cards(10) == []
