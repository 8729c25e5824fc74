"""What time does: keys forgotten, customers gone, e-mails changed, clocks that differ."""

import time
from collections.abc import Callable

import pytest
from faults.double import Double
from faults.house import House
from faults.records import Customer
from faults.scripted import FAULTS, LATE, Fault, stripe_error

from app.customers.attempts import Attempts
from app.customers.token_cipher import TokenCipher
from app.errors import StripeUnavailable, TokenRefused

OpenHouse = Callable[..., House]
DAY = 25 * 3600.0
GONE = Fault(executed=False, answer=stripe_error(404, "resource_missing", "id"))


def leave_open(house: House, double: Double, token: str, fault: str, **user: str) -> None:
    """Let a request end with an outcome that only Stripe knows."""
    double.fail(FAULTS[fault], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token, **user)
    double.heal()


@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("forgotten", [False, True], ids=["key known", "key forgotten"])
def test_key_older_than_a_day(
    house: House, double: Double, executed: bool, has_customer: bool, forgotten: bool
) -> None:
    """Stripe may run it as new, so it is looked for first: executed once, and found."""
    if has_customer:
        house.save(double.account.token())
    token = double.account.token()
    leave_open(house, double, token, f"reset {'after' if executed else 'before'} execution")
    if forgotten:
        double.account.forget_keys()
    house.grow_old(DAY)
    house.save(token)
    assert len(double.account.ledger) == 1 + has_customer
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("token", ["tok_visa", None], ids=["for any use", "for one use"])
def test_completer_finishes_what_is_older_than_a_day(
    house: House, double: Double, token: str | None
) -> None:
    """With no caller, and with a token that Stripe would take again."""
    leave_open(house, double, token or double.account.token(), "reset after execution")
    double.account.forget_keys()
    house.grow_old(DAY)
    assert house.complete() == 0
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


def test_look_up_reads_all_pages_and_only_our_own(house: House, double: Double) -> None:
    """The customer is among thousands of others, some with metadata like ours."""
    token = double.account.token()
    leave_open(house, double, token, "reset after execution")
    made = double.account.live()[0].id
    attempt = house.row().attempt_id
    for number in range(250):
        metadata = {"coord_attempt": f"{attempt}{number}", "coord_user": "1"} if number % 2 else {}
        one = Customer(f"cus_other{number}", int(time.time()), None, metadata, "tok_visa")
        double.account.customers[one.id] = one
    double.account.forget_keys()
    house.grow_old(DAY)
    assert house.save(token) == made


@pytest.mark.parametrize("shift", [-60.0, 60.0])
def test_stripes_clock_differs_by_a_minute(house: House, double: Double, shift: float) -> None:
    """What is looked for by creation time is found in spite of it."""
    double.account.clock = lambda: time.time() + shift
    token = double.account.token()
    leave_open(house, double, token, "reset after execution")
    double.account.forget_keys()
    house.grow_old(DAY)
    house.save(token)
    assert len(double.account.ledger) == 1
    assert house.audit().is_clean, house.audit()


def test_customer_deleted_at_stripe_is_replaced_by_one(house: House, double: Double) -> None:
    """At the user's next update, and not again at the one after."""
    first = house.save(double.account.token())
    double.account.delete(first)
    second = house.save(double.account.token())
    assert second != first
    assert house.save(double.account.token()) == second
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("fault", ["reset after execution", "hangs before execution", "500 kept"])
def test_customer_deleted_while_an_update_is_open(house: House, double: Double, fault: str) -> None:
    """Whatever became of the update, its user ends with one live customer."""
    first = house.save(double.account.token())
    token = double.account.token()
    leave_open(house, double, token, fault)
    double.account.delete(first)
    if fault == "reset after execution":
        # Stripe replays its answer of before; nobody can tell until the next update.
        house.save(token)
        token = double.account.token()
    house.save(token)
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("fault", ["reset before execution", "reset after execution", "500 kept"])
def test_fault_while_a_deleted_customer_is_replaced(
    house: House, double: Double, fault: str
) -> None:
    """The replacement is one customer too."""
    first = house.save(double.account.token())
    double.account.delete(first)
    token = double.account.token()
    double.fail(GONE)
    double.fail(FAULTS[fault], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    double.heal()
    house.save(token)
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


def test_customer_is_not_replaced_on_one_word_of_stripes(house: House, double: Double) -> None:
    """An update says gone, the customer says here: unknown, and no second customer."""
    first = house.save(double.account.token())
    token = double.account.token()
    double.fail(GONE, times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    double.heal()
    assert house.save(token) == first
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("fault", ["reset before execution", "reset after execution", "500 kept"])
def test_email_changed_between_retries(house: House, double: Double, fault: str) -> None:
    """The retry sends what the first try sent, else its key would lock the user out."""
    token = double.account.token()
    leave_open(house, double, token, fault, email="before@example.com")
    house.save(token, email="after@example.com")
    assert double.account.live()[0].email == "before@example.com"
    assert house.audit().is_clean, house.audit()


def test_email_that_stripe_refuses_is_left_out(house: House, double: Double) -> None:
    """The card counts, not the address."""
    house.save(double.account.token(), email="no address")
    assert double.account.live()[0].email is None
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
def test_parameters_of_another_version_under_the_same_key(
    house: House, double: Double, executed: bool
) -> None:
    """Stripe tells of a mismatch: what the old version made is found, else it is made once."""
    token = double.account.token()
    leave_open(house, double, token, "reset after execution" if executed else "500 kept")
    house.calls._installation = "of another version"
    if not executed:
        with pytest.raises(StripeUnavailable):
            house.save(token)
        house.grow_old(300)
    house.save(token)
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
def test_token_sealed_with_a_secret_that_is_no_more(
    house: House, double: Double, executed: bool
) -> None:
    """What Stripe did is found; else the user is asked for another token, but not too early."""
    token = double.account.token()
    leave_open(house, double, token, f"reset {'after' if executed else 'before'} execution")
    house.attempts._cipher = TokenCipher("sk_test_another")
    if executed:
        house.save(token)
        assert len(double.account.live()) == 1
    else:
        with pytest.raises(StripeUnavailable):
            house.save(token)
        house.grow_old(300)
        with pytest.raises(TokenRefused):
            house.save(token)
        house.save(double.account.token())
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_token_of_another_key_whose_call_is_still_on_its_way(
    open_house: OpenHouse, double: Double, has_customer: bool
) -> None:
    """However old the attempt is, what an old process sent of it last may still be executed."""
    old, new = open_house(), open_house(secret="sk_test_another")
    if has_customer:
        old.save(double.account.token())
    token = double.account.token()
    leave_open(old, double, token, "reset before execution")
    old.grow_old(300)
    double.fail(LATE, times=None)
    with pytest.raises(StripeUnavailable):
        old.save(token)
    with pytest.raises(StripeUnavailable):
        new.save(token)
    double.heal()
    double.let_in()
    new.save(token)
    assert len(double.account.live()) == 1
    assert new.audit().is_clean, new.audit()


def test_two_completers_at_once(open_house: OpenHouse, double: Double) -> None:
    """They share the work, and no attempt is executed twice."""
    first, second = open_house(), open_house()
    tokens = {f"user-{number}": double.account.token() for number in range(20)}
    for subject, token in tokens.items():
        first.attempts.release(begun(first.attempts, first, subject, token))
    double.processing = 0.01
    deadline = time.monotonic() + 20
    with first.completer(), second.completer():
        while first.upkeep.open_attempts()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert sorted(one.token for one in double.account.ledger) == sorted(tokens.values())
    assert first.audit().is_clean, first.audit()


def begun(attempts: Attempts, house: House, subject: str, token: str) -> object:
    """Begin an attempt and do no more."""
    attempt = attempts.claim(house.user(subject), token)
    assert attempt is not None
    return attempt
