"""What a look-up finds where a card, its customer or the row is gone meanwhile."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance

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


def claimed(instance: Instance, token: str) -> Attempt:
    attempt = instance.attempts.claim(instance.user(), token)
    assert attempt is not None
    return attempt


def cloned(fake_stripe: FakeStripe) -> str:
    fake_stripe.account.sends = "pm"
    return fake_stripe.account.token()


def test_payment_method_that_the_account_does_not_have(instance: Instance) -> None:
    attempt = claimed(instance, "pm_unknown")
    with pytest.raises(TokenRefused) as refused:
        instance.calls.look_up(attempt, lambda: 1.0)
    assert refused.value.code == "resource_missing"


def test_payment_method_of_a_customer_that_is_deleted(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """A card that was attached once fits no other customer."""
    card = cloned(fake_stripe)
    customer_id = instance.save(card)
    attempt = claimed(instance, cloned(fake_stripe))
    lost = replace(attempt, payment_method=card, customer_id=None)
    fake_stripe.account.delete(customer_id)
    # Stripe may be a moment late to detach the card.
    fake_stripe.account.payment_methods.by_id[card].customer = customer_id
    with pytest.raises(TokenRefused):
        instance.calls.look_up(lost, lambda: 1.0)


def test_payment_method_that_the_users_own_customer_has(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """An earlier call has attached it: nothing is left but to make it the default."""
    card = cloned(fake_stripe)
    customer_id = instance.save(card)
    attempt = claimed(instance, cloned(fake_stripe))
    lost = replace(attempt, payment_method=card, customer_id=None)
    expected = Advance(Step.SET_DEFAULT, customer_id, card)
    assert instance.calls.look_up(lost, lambda: 1.0) == expected


def test_token_that_cannot_be_decrypted_is_not_looked_for(
    open_instance: Callable[..., Instance], fake_stripe: FakeStripe
) -> None:
    """Another key of Stripe's has encrypted it: what it was is not known."""
    instance = open_instance(cards="payment_method")
    attempt = claimed(instance, fake_stripe.account.token())
    assert instance.calls.look_up(replace(attempt, token=None), lambda: 1.0) is None


def test_customer_is_deleted_and_the_token_cannot_be_decrypted(
    open_instance: Callable[..., Instance], fake_stripe: FakeStripe
) -> None:
    """The attempt ends, and the user's next card makes a customer."""
    before, after = open_instance(), open_instance(secret="sk_test_rotated")
    gone = before.save(fake_stripe.account.token())
    attempt = claimed(before, fake_stripe.account.token())
    before.attempts.release(attempt)
    fake_stripe.account.delete(gone)
    assert after.complete() == 0
    assert after.row().stripe_customer_id == gone
    assert after.save(fake_stripe.account.token()) != gone
    assert after.audit().is_clean, after.audit()


def test_user_is_erased_once(instance: Instance, fake_stripe: FakeStripe) -> None:
    instance.save(fake_stripe.account.token())
    attempt = instance.attempts.claim_to_forget(instance.row().id)
    assert attempt is not None
    instance.attempts.erase(attempt)
    with pytest.raises(LeaseLost):
        instance.attempts.erase(attempt)


def test_completer_settles_what_is_refused(instance: Instance, fake_stripe: FakeStripe) -> None:
    """A refused card is a definite answer, although no caller waits for it."""
    instance.attempts.release(claimed(instance, fake_stripe.account.token("expired_card")))
    instance.let_leases_expire()
    Completer(
        instance.customers, instance.upkeep, instance.replaced_cards, instance.database, Metrics()
    )._round()
    assert instance.upkeep.open_attempts()[0] == 0
    assert instance.row().refusal["code"] == "expired_card"


def test_completer_that_stops_begins_nothing(instance: Instance, fake_stripe: FakeStripe) -> None:
    instance.attempts.release(claimed(instance, fake_stripe.account.token()))
    instance.let_leases_expire()
    completer = Completer(
        instance.customers, instance.upkeep, instance.replaced_cards, instance.database, Metrics()
    )
    completer.finish()
    completer._round()
    assert fake_stripe.calls == []
    assert instance.upkeep.open_attempts()[0] == 1
