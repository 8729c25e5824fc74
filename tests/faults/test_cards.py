"""PaymentMethods: as many calls as needed, each crash between them, and no source beside them."""

from collections.abc import Callable

import pytest
from faults.double import Double
from faults.house import Crash, House
from faults.payment_methods import SILENT
from faults.scripted import Fault, stripe_error

from app.customers.steps import Cards
from app.errors import CardRefused, StripeUnavailable, TokenRefused

OpenHouse = Callable[..., House]
DECLINED = stripe_error(402, "card_declined", "", type="card_error")

# By route and whether the user has a customer: the calls to Stripe for one success.
CALLS = {
    ("source", "tok", False): 1,
    ("source", "tok", True): 1,
    ("source", "pm", False): 1,
    ("source", "pm", True): 2,
    ("payment_method", "tok", False): 2,
    ("payment_method", "tok", True): 3,
}
WAYS = [pytest.param(*way, id="-".join(map(str, way))) for way in CALLS]
BY_STEPS = [
    pytest.param(*way, number, id="-".join(map(str, (*way, number))))
    for way, calls in CALLS.items()
    for number in range(calls)
    if calls > 1 or way[1] == "pm"
]


def card(double: Double, sends: str, code: str | None = None) -> str:
    """Return what a caller sends for a new card."""
    double.account.sends = sends  # type: ignore[assignment]
    return double.account.token(code)


@pytest.mark.parametrize(("cards", "sends", "has_customer"), WAYS)
def test_one_success_takes_no_more_calls_than_needed(
    open_house: OpenHouse, double: Double, cards: Cards, sends: str, has_customer: bool
) -> None:
    house = open_house(cards=cards)
    if has_customer:
        house.save(card(double, sends))
    before = len(double.calls)
    house.save(card(double, sends))
    assert len(double.calls) - before == CALLS[cards, sends, has_customer]
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize(("cards", "sends", "has_customer", "number"), BY_STEPS)
@pytest.mark.parametrize("point", ["call.before", "call.after", "advance.before", "advance.after"])
@pytest.mark.parametrize("heir", ["the same request", "another card", "the completer"])
def test_crash_between_the_steps(
    open_house: OpenHouse,
    double: Double,
    cards: Cards,
    sends: str,
    has_customer: bool,
    number: int,
    point: str,
    heir: str,
) -> None:
    """The next process goes on where the one before ended, whatever its own setting is."""
    doomed, house = open_house(cards=cards), open_house(cards="source")
    before = doomed.save(card(double, sends)) if has_customer else None
    token = card(double, sends)
    doomed.crashes.point, doomed.crashes.skip = point, number
    try:
        doomed.save(token)
    except Crash:
        house.let_leases_expire()
    else:
        assert point.startswith("advance"), "the call was not made"
    if heir == "the completer":
        house.complete()
    customer_id = house.save(token if heir == "the same request" else card(double, sends))
    assert before in (None, customer_id)
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize(("cards", "sends", "has_customer"), WAYS)
def test_key_older_than_a_day_between_the_steps(
    open_house: OpenHouse, double: Double, cards: Cards, sends: str, has_customer: bool
) -> None:
    """Stripe may have forgotten the key; what it has still tells what was done."""
    for number in range(CALLS[cards, sends, has_customer]):
        subject = f"user-{number}"
        house = open_house(cards=cards)
        if has_customer:
            house.save(card(double, sends), subject)
        token = card(double, sends)
        house.crashes.point, house.crashes.skip = "call.after", number
        with pytest.raises(Crash):
            house.save(token, subject)
        house.let_leases_expire()
        house.grow_old(25 * 3600)
        double.account.forget_keys()
        heir = open_house(cards=cards)
        is_lost = (cards, sends, number) == ("payment_method", "tok", 0)
        if is_lost:
            # The PaymentMethod that was made of the token cannot be found again.
            with pytest.raises(TokenRefused):
                heir.save(token, subject)
            token = card(double, sends)
        heir.save(token, subject)
        found = heir.audit()
        assert len(found.loose) <= int(is_lost)
        found.loose.clear()
        double.account.payment_methods.discard_loose()
        assert found.is_clean, found
    assert len(double.account.live()) == CALLS[cards, sends, has_customer]


@pytest.mark.parametrize("setting", ["source", "payment_method"])
def test_customer_with_a_payment_method_gets_no_source(
    open_house: OpenHouse, double: Double, setting: Cards
) -> None:
    """Whatever STRIPE_CARDS says: Stripe would go on charging the PaymentMethod."""
    house = open_house(cards=setting)
    house.save(card(double, "pm"))
    before = len(double.calls)
    house.save(card(double, "tok"))
    sent = [call.request.form for call in double.calls[before:]]
    assert not any("source" in form for form in sent)
    assert house.audit().is_clean, house.audit()


def test_payment_method_set_as_default_elsewhere_hides_no_card(
    open_house: OpenHouse, double: Double
) -> None:
    """Somebody set it in Stripe's dashboard: the saved source becomes the default all the same."""
    house = open_house()
    customer_id = house.save(card(double, "tok"))
    made = double.account.payment_methods.make(None, None, {})
    made.customer = customer_id
    double.account.customers[customer_id].default_pm = made.id
    assert house.save(card(double, "tok")) == customer_id
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize(("cards", "sends", "has_customer"), WAYS)
def test_refused_card_changes_nothing(
    open_house: OpenHouse, double: Double, cards: Cards, sends: str, has_customer: bool
) -> None:
    house = open_house(cards=cards)
    before = house.save(card(double, sends)) if has_customer else None
    with pytest.raises(CardRefused):
        house.save(card(double, sends, "card_declined"))
    assert house.row().stripe_customer_id == before
    assert house.row().attempt_id is None
    assert house.audit().is_clean, house.audit()


def test_payment_method_of_another_customer_is_refused(
    open_house: OpenHouse, double: Double
) -> None:
    house = open_house()
    taken = card(double, "pm")
    house.save(taken, "user-1")
    house.save(card(double, "pm"), "user-2")
    for subject in ("user-2", "user-3"):
        with pytest.raises(TokenRefused):
            house.save(taken, subject)
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_unknown_payment_method_is_refused(
    open_house: OpenHouse, double: Double, has_customer: bool
) -> None:
    house = open_house()
    if has_customer:
        house.save(card(double, "pm"))
    with pytest.raises(TokenRefused) as refused:
        house.save("pm_unknown")
    assert refused.value.code == "resource_missing"
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("cards", ["source", "payment_method"])
@pytest.mark.parametrize("sends", ["tok", "pm"])
def test_deleted_customer_is_replaced_by_one(
    open_house: OpenHouse, double: Double, cards: Cards, sends: str
) -> None:
    house = open_house(cards=cards)
    first = house.save(card(double, sends))
    double.account.delete(first)
    second = house.save(card(double, sends))
    assert second != first
    assert house.save(card(double, sends)) == second
    assert house.audit().is_clean, house.audit()


def test_customer_deleted_once_its_card_was_attached(open_house: OpenHouse, double: Double) -> None:
    """The card went with it: the user is asked for another, and no second customer is made."""
    house = open_house()
    first = house.save(card(double, "pm"))
    token = card(double, "pm")
    house.crashes.point = "advance.after"
    with pytest.raises(Crash):
        house.save(token)
    double.account.delete(first)
    house.let_leases_expire()
    with pytest.raises(TokenRefused):
        house.save(token)
    house.save(card(double, "pm"))
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


def test_refusal_once_the_card_is_attached_leaves_the_attempt_open(
    open_house: OpenHouse, double: Double
) -> None:
    """Only the default is left to be set, and the completer sets it."""
    house = open_house()
    house.save(card(double, "pm"))
    token = card(double, "pm")
    declined = Fault(executed=False, answer=DECLINED)
    house.crashes.pauses["advance.after"] = lambda: double.fail(declined, times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    assert house.row().attempt_id is not None
    double.heal()
    assert house.complete() == 0
    del house.acknowledged["user-1"]
    assert house.audit().is_clean, house.audit()


def test_default_that_is_refused_while_the_card_is_attached_stays_open(
    open_house: OpenHouse, double: Double
) -> None:
    """Stripe gives no code and no parameter, but the card is attached: it must be the default."""
    house = open_house()
    customer_id = house.save(card(double, "pm"))
    token = card(double, "pm")
    silent = Fault(executed=False, answer=SILENT)
    house.crashes.pauses["advance.after"] = lambda: double.fail(silent)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    assert house.row().attempt_id is not None
    assert house.save(token) == customer_id
    assert house.audit().is_clean, house.audit()


def test_card_detached_before_it_became_the_default_is_refused(
    open_house: OpenHouse, double: Double
) -> None:
    """The customer that was found for a new user is kept."""
    house = open_house()
    customer_id = house.save(card(double, "pm"))
    token = card(double, "pm")
    house.crashes.pauses["advance.after"] = lambda: double.account.payment_methods.detach(token)
    with pytest.raises(TokenRefused):
        house.save(token)
    assert house.row().stripe_customer_id == customer_id
    assert house.audit().is_clean, house.audit()


def test_source_that_is_gone_before_it_became_the_default(
    open_house: OpenHouse, double: Double
) -> None:
    """It was removed in Stripe's dashboard: unknown, and the next card is saved."""
    house = open_house()
    customer_id = house.save(card(double, "tok"))
    token = card(double, "tok")
    house.crashes.point = "call.after"
    with pytest.raises(Crash):
        house.save(token)
    customer = double.account.customers[customer_id]
    customer.default_pm, customer.source = "pm_elsewhere", ""
    house.let_leases_expire()
    house.grow_old(25 * 3600)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    customer.default_pm = None
    house.save(card(double, "tok"))
