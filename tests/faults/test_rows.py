"""Rows of another version, wrong keys, and the completer: no user gets another's customer."""

import threading
import time

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
from sqlalchemy import update
from structlog.testing import capture_logs

from app.customers.calls import Saved
from app.customers.completer import PROBES, Completer
from app.customers.pacer import Pacer
from app.customers.steps import Step
from app.errors import Misconfigured, StripeUnavailable, TestUser
from app.storage.tables import users
from app.telemetry.metrics import Metrics

EMAIL = stripe_error(400, "email_invalid", "email")


def test_customer_of_another_row_is_never_an_answer(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if Stripe, or something on the way, returns it with all marks."""
    first = house.save(double.account.token(), "user-1")
    monkeypatch.setattr(house.calls, "send", lambda *_: Saved(first))
    with capture_logs() as logged, pytest.raises(StripeUnavailable):
        house.save(double.account.token(), "user-2")
    assert "customer belongs to another user" in [event["event"] for event in logged]
    assert house.row("user-2").stripe_customer_id is None
    assert house.row("user-2").attempt_id is not None


def test_row_of_the_version_before_gets_its_hash(house: House, double: Double) -> None:
    """At its user's next card, or by the completer, and keeps its customer."""
    first = house.save(double.account.token())
    for name_it in (lambda: None, house.upkeep.name_rows):
        with house.database.writing() as connection:
            connection.execute(update(users).values(user_hash=None))
        name_it()
        assert house.save(double.account.token()) == first
    assert house.audit().is_clean, house.audit()


def test_attempt_of_the_version_before_is_one_of_a_source(house: House, double: Double) -> None:
    """Whatever step an older attempt of the row was at."""
    token = double.account.token()
    attempt = house.attempts.claim(house.user(), token)
    assert attempt is not None
    house.attempts.release(attempt)
    encrypted = house.attempts._cipher.encrypt(token, attempt.id)
    house.change(attempt_token=encrypted, step="set_default", step_of="of another attempt")
    house.save(token)
    assert house.audit().is_clean, house.audit()


def test_wrong_key_changes_nothing(house: House, double: Double) -> None:
    """An account that never had the customer: no second one, and the attempt stays open."""
    first = house.save(double.account.token())
    kept = double.account.customers.pop(first)
    token = double.account.token()
    with pytest.raises(Misconfigured):
        house.save(token)
    assert house.row().stripe_customer_id == first
    assert house.row().attempt_id is not None
    assert double.account.live() == []
    # The right account has seen none of those calls.
    double.account.forget_keys()
    double.account.customers[first] = kept
    assert house.save(token) == first
    assert house.audit().is_clean, house.audit()


def test_stripe_is_not_called_for_a_test_user(house: House, double: Double) -> None:
    user = house.user()
    object.__setattr__(user, "is_test", True)
    with pytest.raises(TestUser):
        house.customers.save_card(user, double.account.token())
    assert double.calls == []


def test_answers_that_contradict_each_other_end_the_request(house: House, double: Double) -> None:
    """An address that was left out is refused again and again."""
    double.fail(Fault(executed=False, answer=EMAIL), times=None)
    with pytest.raises(StripeUnavailable):
        house.save(double.account.token(), email="one@example.com")
    assert house.row().attempt_id is None or len(double.calls) < 20


def test_look_up_finds_nothing_of_an_attempt_to_forget(house: House, double: Double) -> None:
    house.save(double.account.token())
    attempt = house.attempts.claim_to_forget(house.row().id)
    assert attempt is not None
    assert attempt.step is Step.FORGET
    assert house.calls.look_up(attempt, lambda: 1.0) is None


def completer(house: House) -> Completer:
    return Completer(house.customers, house.upkeep, house.replaced_cards, house.database, Metrics())


def test_completer_asks_little_while_stripe_fails(house: House, double: Double) -> None:
    """A round ends after the first few attempts, and each is left alone for longer and longer."""
    number = PROBES + 5
    for one in range(number):
        attempt = house.attempts.claim(house.user(f"user-{one}"), double.account.token())
        assert attempt is not None
        house.attempts.release(attempt)
    house.let_leases_expire()
    double.fail(FAULTS["503"], times=None)
    completer(house)._round()
    assert len(double.calls) == PROBES
    completer(house)._round()
    assert len(double.calls) == number
    completer(house)._round()
    assert len(double.calls) == number
    double.heal()
    house.let_leases_expire()
    completer(house)._round()
    assert house.upkeep.open_attempts()[0] == 0
    assert house.audit().is_clean, house.audit()


def test_pacer_spaces_calls_and_stops() -> None:
    stopping = threading.Event()
    pacer = Pacer(stopping, per_second=50)
    began = time.monotonic()
    assert all(pacer.wait() for _ in range(6))
    assert time.monotonic() - began >= 5 / 50
    stopping.set()
    assert not pacer.wait()
