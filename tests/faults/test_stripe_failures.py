"""Each way in which Stripe can fail: told right, nothing lost, and it converges."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, NOT_STRIPE, Fault, stripe_error

from app.errors import CardRefused, StripeUnavailable, TokenRefused, UsersApiError

# After this the outcome is found out at once: Stripe's list of customers shows it.
FOUND_OUT = "500 kept and executed"
MISSING = stripe_error(400, "resource_missing", "starting_after")
LOOK_UPS = {
    **{name: fault for name, fault in FAULTS.items() if "execut" not in name},
    **{name: fault for name, fault in NOT_STRIPE.items() if fault.executed},
    # Somebody deletes the customer at which a page ended.
    "400 of Stripe": Fault(answer=MISSING),
    "402 of Stripe": Fault(answer=replace(MISSING, status=402)),
}


NOT_EXECUTED = ("429", "429 lock timeout")


def save_in_trouble(house: House, token: str) -> None:
    """Send a request that must be told as unknown, and within its time."""
    began = time.monotonic()
    with pytest.raises(StripeUnavailable) as told:
        house.save(token)
    assert told.value.retry_after
    # Who trickles, or hangs, would otherwise be waited for without end.
    assert time.monotonic() - began < house.request + 5.0


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_unknown_outcome_is_told_and_converges(
    house: House, double: Double, name: str, has_customer: bool
) -> None:
    """503 while it lasts; the same request afterwards succeeds, with one customer."""
    before = house.save(double.account.token()) if has_customer else None
    token = double.account.token()
    double.fail(FAULTS[name], times=None)
    if name == FOUND_OUT:
        house.save(token)
    else:
        save_in_trouble(house, token)
        # What Stripe has certainly not executed is withdrawn: the completer need not ask again.
        assert (house.row().attempt_id is None) == (name in NOT_EXECUTED)
    double.heal()
    customer_id = house.save(token)
    assert before in (None, customer_id)
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_one_fault_is_borne_within_the_request(
    house: House, double: Double, name: str, has_customer: bool
) -> None:
    """A single failure does not reach the caller: the same key is sent again in time."""
    if has_customer:
        house.save(double.account.token())
    double.fail(FAULTS[name])
    # At a rate limit a second call in the same request would make it worse.
    if name in ("hangs during execution", "429"):
        save_in_trouble(house, token := double.account.token())
        double.heal()
        house.save(token)
    else:
        house.save(double.account.token())
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_refused_connection_is_told_and_converges(
    house: House, double: Double, has_customer: bool
) -> None:
    """Nothing listens where Stripe should be, and kept connections have ended."""
    if has_customer:
        house.save(double.account.token())
    token = double.account.token()
    with double.refusing():
        save_in_trouble(house, token)
    house.save(token)
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("name", NOT_STRIPE)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_answer_in_other_words_than_stripes_is_unknown(
    house: House, double: Double, name: str, has_customer: bool
) -> None:
    """A 4xx that bears no error of Stripe's refuses nothing: a proxy may have sent it."""
    if has_customer:
        house.save(double.account.token())
    token = double.account.token()
    double.fail(NOT_STRIPE[name], times=None, method=None)
    save_in_trouble(house, token)
    double.heal()
    house.save(token)
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("name", LOOK_UPS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_failed_look_up_is_no_answer(
    house: House, double: Double, name: str, has_customer: bool
) -> None:
    """Stripe has it, forgot the key, and does not tell: the attempt stays open."""
    if has_customer:
        house.save(double.account.token())
    token = double.account.token()
    double.fail(FAULTS["reset after execution"], times=None)
    save_in_trouble(house, token)
    double.heal()
    double.account.forget_keys()
    house.grow_old(25 * 3600)
    double.fail(LOOK_UPS[name], times=None, method="GET")
    save_in_trouble(house, token)
    assert house.row().attempt_id is not None
    double.heal()
    house.save(token)
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(
    ("token", "error", "code"),
    [
        ("tok_chargeDeclined", CardRefused, "card_declined"),
        ("tok_chargeDeclinedInsufficientFunds", CardRefused, "card_declined"),
        ("tok_chargeDeclinedExpiredCard", CardRefused, "expired_card"),
        ("tok_chargeDeclinedIncorrectCvc", CardRefused, "incorrect_cvc"),
        ("tok_chargeDeclinedProcessingError", CardRefused, "processing_error"),
        ("tok_unknown", TokenRefused, "resource_missing"),
    ],
)
def test_refusal_changes_nothing(
    house: House,
    double: Double,
    has_customer: bool,
    token: str,
    error: type[UsersApiError],
    code: str,
) -> None:
    """A refused card leaves the customer, its card and the stored id as they were."""
    before = house.save(double.account.token()) if has_customer else None
    with pytest.raises(error) as told:
        house.save(token)
    assert told.value.code == code
    assert house.row().stripe_customer_id == before
    assert len(double.account.live()) == has_customer
    assert house.audit().is_clean, house.audit()


def test_used_token_of_another_user_is_refused(house: House, double: Double) -> None:
    """A token that made one user's customer makes no other's."""
    token = double.account.token()
    house.save(token, "user-1")
    with pytest.raises(TokenRefused) as told:
        house.save(token, "user-2")
    assert told.value.code == "token_already_used"
    assert house.audit().is_clean, house.audit()


def test_one_call_for_one_success(house: House, double: Double) -> None:
    """A save that meets no trouble is one call to Stripe, and its repetition none."""
    first, second = double.account.token(), double.account.token()
    for token in (first, first, second, second):
        house.save(token)
    assert len(double.calls) == 2


def test_refusals_count_for_their_own_user_alone(
    open_house: Callable[..., House], double: Double
) -> None:
    """However many cards of others are refused, a user who has a customer can save another."""
    house = open_house(per_user=2)
    house.save(double.account.token())
    for number in range(5):
        with pytest.raises(CardRefused):
            house.save(double.account.token("card_declined"), f"other-{number}")
    house.save(double.account.token())
    with pytest.raises(CardRefused):
        house.save(double.account.token("card_declined"))
    house.save(double.account.token())
    assert house.audit().is_clean, house.audit()
