"""PaymentMethods: as many calls as needed, each crash between them, and no source beside them."""

from collections.abc import Callable

import pytest
from faults.call_faults import Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Crash, Instance
from faults.payment_methods import SILENT
from faults.routes import CALLS, card

from app.customers.steps import Cards
from app.errors import CardRefused, StripeUnavailable, TokenRefused

OpenInstance = Callable[..., Instance]
DECLINED = stripe_error(402, "card_declined", "", type="card_error")

CASES = [pytest.param(*way, id="-".join(map(str, way))) for way in CALLS]
BY_STEPS = [
    pytest.param(*way, number, id="-".join(map(str, (*way, number))))
    for way, calls in CALLS.items()
    for number in range(calls)
    if calls > 1 or way[1] == "pm"
]


@pytest.mark.parametrize(("cards", "sends", "has_customer", "number"), BY_STEPS)
@pytest.mark.parametrize("point", ["call.before", "call.after", "advance.before", "advance.after"])
@pytest.mark.parametrize("successor", ["the same request", "another card", "the completer"])
def test_crash_between_the_steps(
    open_instance: OpenInstance,
    fake_stripe: FakeStripe,
    cards: Cards,
    sends: str,
    has_customer: bool,
    number: int,
    point: str,
    successor: str,
) -> None:
    """The next process goes on where the one before ended, whatever its own setting is."""
    crashing, instance = open_instance(cards=cards), open_instance(cards="source")
    before = crashing.save(card(fake_stripe, sends)) if has_customer else None
    token = card(fake_stripe, sends)
    crashing.crashes.point, crashing.crashes.skip = point, number
    try:
        crashing.save(token)
    except Crash:
        instance.let_leases_expire()
    else:
        assert point.startswith("advance"), "the call was not made"
    if successor == "the completer":
        instance.complete()
    customer_id = instance.save(
        token if successor == "the same request" else card(fake_stripe, sends)
    )
    assert before in (None, customer_id)
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.parametrize(("cards", "sends", "has_customer"), CASES)
def test_key_older_than_a_day_between_the_steps(
    open_instance: OpenInstance,
    fake_stripe: FakeStripe,
    cards: Cards,
    sends: str,
    has_customer: bool,
) -> None:
    """Stripe may have forgotten the key; what it has still tells what was done."""
    for number in range(CALLS[cards, sends, has_customer]):
        subject = f"user-{number}"
        instance = open_instance(cards=cards)
        if has_customer:
            instance.save(card(fake_stripe, sends), subject)
        token = card(fake_stripe, sends)
        instance.crashes.point, instance.crashes.skip = "call.after", number
        with pytest.raises(Crash):
            instance.save(token, subject)
        instance.let_leases_expire()
        instance.grow_old(25 * 3600)
        fake_stripe.account.forget_keys()
        successor = open_instance(cards=cards)
        is_lost = (cards, sends, number) == ("payment_method", "tok", 0)
        if is_lost:
            # The PaymentMethod that was made of the token cannot be found again.
            with pytest.raises(TokenRefused):
                successor.save(token, subject)
            token = card(fake_stripe, sends)
        successor.save(token, subject)
        found = successor.audit()
        assert len(found.loose) <= int(is_lost)
        found.loose.clear()
        fake_stripe.account.payment_methods.discard_loose()
        assert found.is_clean, found
    assert len(fake_stripe.account.live()) == CALLS[cards, sends, has_customer]


@pytest.mark.parametrize("setting", ["source", "payment_method"])
def test_customer_with_a_payment_method_gets_no_source(
    open_instance: OpenInstance, fake_stripe: FakeStripe, setting: Cards
) -> None:
    """Whatever STRIPE_CARDS says: Stripe would go on charging the PaymentMethod."""
    instance = open_instance(cards=setting)
    instance.save(card(fake_stripe, "pm"))
    before = len(fake_stripe.calls)
    instance.save(card(fake_stripe, "tok"))
    sent = [call.request.form for call in fake_stripe.calls[before:]]
    assert not any("source" in form for form in sent)
    assert instance.audit().is_clean, instance.audit()


def test_payment_method_set_as_default_elsewhere_hides_no_card(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """It was set in Stripe's dashboard: the saved source becomes the default all the same."""
    instance = open_instance()
    customer_id = instance.save(card(fake_stripe, "tok"))
    made = fake_stripe.account.payment_methods.make(None, None, {})
    made.customer = customer_id
    fake_stripe.account.customers[customer_id].default_pm = made.id
    assert instance.save(card(fake_stripe, "tok")) == customer_id
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.parametrize(("cards", "sends", "has_customer"), CASES)
def test_refused_card_changes_nothing(
    open_instance: OpenInstance,
    fake_stripe: FakeStripe,
    cards: Cards,
    sends: str,
    has_customer: bool,
) -> None:
    instance = open_instance(cards=cards)
    before = instance.save(card(fake_stripe, sends)) if has_customer else None
    with pytest.raises(CardRefused):
        instance.save(card(fake_stripe, sends, "card_declined"))
    assert instance.row().stripe_customer_id == before
    assert instance.row().attempt_id is None
    assert instance.audit().is_clean, instance.audit()


def test_payment_method_of_another_customer_is_refused(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    instance = open_instance()
    taken = card(fake_stripe, "pm")
    instance.save(taken, "user-1")
    instance.save(card(fake_stripe, "pm"), "user-2")
    for subject in ("user-2", "user-3"):
        with pytest.raises(TokenRefused):
            instance.save(taken, subject)
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_unknown_payment_method_is_refused(
    open_instance: OpenInstance, fake_stripe: FakeStripe, has_customer: bool
) -> None:
    instance = open_instance()
    if has_customer:
        instance.save(card(fake_stripe, "pm"))
    with pytest.raises(TokenRefused) as refused:
        instance.save("pm_unknown")
    assert refused.value.code == "resource_missing"
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.parametrize("cards", ["source", "payment_method"])
@pytest.mark.parametrize("sends", ["tok", "pm"])
def test_deleted_customer_is_replaced_by_one(
    open_instance: OpenInstance, fake_stripe: FakeStripe, cards: Cards, sends: str
) -> None:
    instance = open_instance(cards=cards)
    first = instance.save(card(fake_stripe, sends))
    fake_stripe.account.delete(first)
    second = instance.save(card(fake_stripe, sends))
    assert second != first
    assert instance.save(card(fake_stripe, sends)) == second
    assert instance.audit().is_clean, instance.audit()


def test_customer_deleted_once_its_card_was_attached(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """The card went with it: the user is asked for another, and no second customer is made."""
    instance = open_instance()
    first = instance.save(card(fake_stripe, "pm"))
    token = card(fake_stripe, "pm")
    instance.crashes.point = "advance.after"
    with pytest.raises(Crash):
        instance.save(token)
    fake_stripe.account.delete(first)
    instance.let_leases_expire()
    with pytest.raises(TokenRefused):
        instance.save(token)
    instance.save(card(fake_stripe, "pm"))
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


def test_refusal_once_the_card_is_attached_leaves_the_attempt_open(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """Only the default is left to be set, and the completer sets it."""
    instance = open_instance()
    instance.save(card(fake_stripe, "pm"))
    token = card(fake_stripe, "pm")
    declined = Fault(executed=False, answer=DECLINED)
    instance.crashes.pauses["advance.after"] = lambda: fake_stripe.fail(declined, times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    assert instance.row().attempt_id is not None
    fake_stripe.heal()
    assert instance.complete() == 0
    del instance.acknowledged["user-1"]
    assert instance.audit().is_clean, instance.audit()


def test_default_that_is_refused_while_the_card_is_attached_stays_open(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """Stripe gives no code and no parameter, but the card is attached: it must be the default."""
    instance = open_instance()
    customer_id = instance.save(card(fake_stripe, "pm"))
    token = card(fake_stripe, "pm")
    silent = Fault(executed=False, answer=SILENT)
    instance.crashes.pauses["advance.after"] = lambda: fake_stripe.fail(silent)
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    assert instance.row().attempt_id is not None
    assert instance.save(token) == customer_id
    assert instance.audit().is_clean, instance.audit()


def test_card_detached_before_it_became_the_default_is_refused(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """The customer that was found for a new user is kept."""
    instance = open_instance()
    customer_id = instance.save(card(fake_stripe, "pm"))
    token = card(fake_stripe, "pm")
    instance.crashes.pauses["advance.after"] = lambda: fake_stripe.account.detach(token)
    with pytest.raises(TokenRefused):
        instance.save(token)
    assert instance.row().stripe_customer_id == customer_id
    assert instance.audit().is_clean, instance.audit()


def test_source_that_is_gone_before_it_became_the_default(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """It was removed in Stripe's dashboard: unknown, and the next card is saved."""
    instance = open_instance()
    customer_id = instance.save(card(fake_stripe, "tok"))
    token = card(fake_stripe, "tok")
    instance.crashes.point = "call.after"
    with pytest.raises(Crash):
        instance.save(token)
    customer = fake_stripe.account.customers[customer_id]
    customer.default_pm, customer.source = "pm_elsewhere", ""
    instance.let_leases_expire()
    instance.grow_old(25 * 3600)
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    customer.default_pm = None
    instance.save(card(fake_stripe, "tok"))
