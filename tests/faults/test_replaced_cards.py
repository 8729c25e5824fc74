"""A card that was replaced is detached, and not saved again meanwhile."""

import threading
from collections.abc import Callable

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance

from app.customers import replaced_cards
from app.customers.pacer import Pacer
from app.errors import TokenRefused


@pytest.fixture
def pacer() -> Pacer:
    return Pacer(threading.Event(), per_second=1e6)


def replaced(instance: Instance, fake_stripe: FakeStripe) -> tuple[str, str]:
    """Return the customer and the card that was replaced."""
    fake_stripe.account.sends = "pm"
    old = fake_stripe.account.token()
    instance.save(old)
    return instance.save(fake_stripe.account.token()), old


def test_replaced_card_is_detached(
    instance: Instance, fake_stripe: FakeStripe, pacer: Pacer
) -> None:
    """The new one stays, and nothing is left to be done."""
    customer_id, old = replaced(instance, fake_stripe)
    instance.replaced_cards.detach(pacer)
    [left] = fake_stripe.account.payment_methods.attached(customer_id)
    assert left.id != old
    calls = len(fake_stripe.calls)
    instance.replaced_cards.detach(pacer)
    assert len(fake_stripe.calls) == calls
    assert instance.audit().is_clean, instance.audit()


def test_replaced_card_that_is_the_default_again_stays(
    instance: Instance, fake_stripe: FakeStripe, pacer: Pacer
) -> None:
    customer_id, old = replaced(instance, fake_stripe)
    fake_stripe.account.customers[customer_id].default_pm = old
    instance.replaced_cards.detach(pacer)
    assert fake_stripe.account.payment_methods.by_id[old].customer == customer_id


def test_replaced_card_of_a_deleted_customer(
    instance: Instance, fake_stripe: FakeStripe, pacer: Pacer
) -> None:
    customer_id, _ = replaced(instance, fake_stripe)
    fake_stripe.account.delete(customer_id)
    instance.replaced_cards.detach(pacer)
    assert instance.upkeep.replaced_cards(10) == []


def test_replaced_card_is_tried_again_later(
    instance: Instance, fake_stripe: FakeStripe, pacer: Pacer
) -> None:
    """Stripe fails, or it is time to stop: the row still names the card."""
    replaced(instance, fake_stripe)
    fake_stripe.fail(FAULTS["503"], times=None, method="GET")
    instance.replaced_cards.detach(pacer)
    assert len(instance.upkeep.replaced_cards(10)) == 1
    stopping = threading.Event()
    stopping.set()
    instance.replaced_cards.detach(Pacer(stopping))
    assert len(instance.upkeep.replaced_cards(10)) == 1


def test_replaced_card_is_not_saved_again(
    instance: Instance, fake_stripe: FakeStripe, pacer: Pacer
) -> None:
    """It may be on the point of being detached: the answer would not last."""
    _, old = replaced(instance, fake_stripe)
    newest = instance.row().payment_method_id
    with pytest.raises(TokenRefused) as refused:
        instance.save(old)
    assert refused.value.code == "token_already_used"
    instance.replaced_cards.detach(pacer)
    with pytest.raises(TokenRefused):
        instance.save(old)
    assert instance.row().payment_method_id == newest
    assert instance.audit().is_clean, instance.audit()


def test_row_that_fails_by_itself_holds_up_no_other(
    instance: Instance, fake_stripe: FakeStripe, pacer: Pacer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its customer is unknown to the account; it is tried again once all others were."""
    monkeypatch.setattr(replaced_cards, "MOST_IN_A_ROUND", 1)
    customer_id, _ = replaced(instance, fake_stripe)
    kept = fake_stripe.account.customers.pop(customer_id)
    instance.save(fake_stripe.account.token(), "user-2")
    instance.save(fake_stripe.account.token(), "user-2")
    for _ in range(3):
        instance.replaced_cards.detach(pacer)
    assert [row.stripe_customer_id for row in instance.upkeep.replaced_cards(10)] == [customer_id]
    fake_stripe.account.customers[customer_id] = kept
    for _ in range(2):
        instance.replaced_cards.detach(pacer)
    assert instance.upkeep.replaced_cards(10) == []


def test_completer_that_slept_before_it_detached(
    open_instance: Callable[..., Instance], fake_stripe: FakeStripe, pacer: Pacer
) -> None:
    """Two cards were saved since it looked: the one that it is about to detach is not saved again.

    Else the user would be left with no card at all after a success.
    """
    sleeper, instance = open_instance(), open_instance()
    customer_id, old = replaced(instance, fake_stripe)

    def meanwhile() -> None:
        instance.save(fake_stripe.account.token())
        with pytest.raises(TokenRefused):
            instance.save(old)

    sleeper.crashes.pauses["call.before"] = meanwhile
    sleeper.replaced_cards.detach(pacer)
    assert not sleeper.crashes.pauses
    assert fake_stripe.account.payment_methods.by_id[old].customer is None
    assert instance.save(fake_stripe.account.token()) == customer_id
    assert instance.audit().is_clean, instance.audit()
