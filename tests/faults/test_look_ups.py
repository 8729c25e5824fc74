"""What a look-up finds where a card, its customer or the row is gone meanwhile."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from faults.double import Double
from faults.house import House

from app.customers.attempt import Attempt, LeaseLost
from app.customers.calls import Advance
from app.customers.completer import Completer
from app.customers.steps import Step
from app.errors import TokenRefused
from app.telemetry.metrics import Metrics


@pytest.fixture
def route() -> str:
    """Return how cards are saved: each test makes its own."""
    return "source"


def claimed(house: House, token: str) -> Attempt:
    attempt = house.attempts.claim(house.user(), token)
    assert attempt is not None
    return attempt


def cloned(double: Double) -> str:
    double.account.sends = "pm"
    return double.account.token()


def test_payment_method_that_the_account_does_not_have(house: House) -> None:
    attempt = claimed(house, "pm_unknown")
    with pytest.raises(TokenRefused) as refused:
        house.calls.look_up(attempt, lambda: 1.0)
    assert refused.value.code == "resource_missing"


def test_payment_method_of_a_customer_that_is_deleted(house: House, double: Double) -> None:
    """A card that was attached once fits no other customer."""
    card = cloned(double)
    customer_id = house.save(card)
    attempt = claimed(house, cloned(double))
    lost = replace(attempt, payment_method=card, customer_id=None)
    double.account.delete(customer_id)
    # Stripe may be a moment late to detach the card.
    double.account.payment_methods.by_id[card].customer = customer_id
    with pytest.raises(TokenRefused):
        house.calls.look_up(lost, lambda: 1.0)


def test_payment_method_that_the_users_own_customer_has(house: House, double: Double) -> None:
    """An earlier call has attached it: nothing is left but to make it the default."""
    card = cloned(double)
    customer_id = house.save(card)
    attempt = claimed(house, cloned(double))
    lost = replace(attempt, payment_method=card, customer_id=None)
    expected = Advance(Step.SET_DEFAULT, customer_id, card)
    assert house.calls.look_up(lost, lambda: 1.0) == expected


def test_token_that_cannot_be_decrypted_is_not_looked_for(
    open_house: Callable[..., House], double: Double
) -> None:
    """Another key of Stripe's has encrypted it: what it was is not known."""
    house = open_house(cards="payment_method")
    attempt = claimed(house, double.account.token())
    assert house.calls.look_up(replace(attempt, token=None), lambda: 1.0) is None


def test_customer_is_deleted_and_the_token_cannot_be_decrypted(
    open_house: Callable[..., House], double: Double
) -> None:
    """The attempt ends, and the user's next card makes a customer."""
    before, after = open_house(), open_house(secret="sk_test_rotated")
    gone = before.save(double.account.token())
    attempt = claimed(before, double.account.token())
    before.attempts.release(attempt)
    double.account.delete(gone)
    assert after.complete() == 0
    assert after.row().stripe_customer_id == gone
    assert after.save(double.account.token()) != gone
    assert after.audit().is_clean, after.audit()


def test_user_is_erased_once(house: House, double: Double) -> None:
    house.save(double.account.token())
    attempt = house.attempts.claim_to_forget(house.row().id)
    assert attempt is not None
    house.attempts.erase(attempt)
    with pytest.raises(LeaseLost):
        house.attempts.erase(attempt)


def test_completer_settles_what_is_refused(house: House, double: Double) -> None:
    """A refused card is a clear answer, which nobody waits for."""
    house.attempts.release(claimed(house, double.account.token("expired_card")))
    house.let_leases_expire()
    Completer(
        house.customers, house.upkeep, house.replaced_cards, house.database, Metrics()
    )._round()
    assert house.upkeep.open_attempts()[0] == 0
    assert house.row().refusal["code"] == "expired_card"


def test_completer_that_stops_begins_nothing(house: House, double: Double) -> None:
    house.attempts.release(claimed(house, double.account.token()))
    house.let_leases_expire()
    completer = Completer(
        house.customers, house.upkeep, house.replaced_cards, house.database, Metrics()
    )
    completer.finish()
    completer._round()
    assert double.calls == []
    assert house.upkeep.open_attempts()[0] == 1
