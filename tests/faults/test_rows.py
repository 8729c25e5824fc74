"""Rows of another version, wrong keys, and the completer: no user gets another's customer."""

import threading
import time

import pytest
from faults.call_faults import FAULTS, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
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
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if Stripe, or something on the way, returns it with all marks."""
    first = instance.save(fake_stripe.account.token(), "user-1")
    monkeypatch.setattr(instance.calls, "send", lambda *_: Saved(first))
    with capture_logs() as logged, pytest.raises(StripeUnavailable):
        instance.save(fake_stripe.account.token(), "user-2")
    assert "customer belongs to another user" in [event["event"] for event in logged]
    assert instance.row("user-2").stripe_customer_id is None
    assert instance.row("user-2").attempt_id is not None


def test_row_of_the_version_before_gets_its_hash(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """At its user's next card, or by the completer, and keeps its customer."""
    first = instance.save(fake_stripe.account.token())
    for name_it in (lambda: None, instance.upkeep.name_rows):
        with instance.database.writing() as connection:
            connection.execute(update(users).values(user_hash=None))
        name_it()
        assert instance.save(fake_stripe.account.token()) == first
    assert instance.audit().is_clean, instance.audit()


def test_attempt_of_the_version_before_is_one_of_a_source(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Whatever step an older attempt of the row was at."""
    token = fake_stripe.account.token()
    attempt = instance.attempts.claim(instance.user(), token)
    assert attempt is not None
    instance.attempts.release(attempt)
    encrypted = instance.attempts._cipher.encrypt(token, attempt.id)
    instance.change(attempt_token=encrypted, step="set_default", step_of="of another attempt")
    instance.save(token)
    assert instance.audit().is_clean, instance.audit()


def test_wrong_key_changes_nothing(instance: Instance, fake_stripe: FakeStripe) -> None:
    """An account that never had the customer: no second one, and the attempt stays open."""
    first = instance.save(fake_stripe.account.token())
    kept = fake_stripe.account.customers.pop(first)
    token = fake_stripe.account.token()
    with pytest.raises(Misconfigured):
        instance.save(token)
    assert instance.row().stripe_customer_id == first
    assert instance.row().attempt_id is not None
    assert fake_stripe.account.live() == []
    # The right account has seen none of those calls.
    fake_stripe.account.forget_keys()
    fake_stripe.account.customers[first] = kept
    assert instance.save(token) == first
    assert instance.audit().is_clean, instance.audit()


def test_stripe_is_not_called_for_a_test_user(instance: Instance, fake_stripe: FakeStripe) -> None:
    user = instance.user()
    object.__setattr__(user, "is_test", True)
    with pytest.raises(TestUser):
        instance.customers.save_card(user, fake_stripe.account.token())
    assert fake_stripe.calls == []


def test_answers_that_contradict_each_other_end_the_request(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """An address that was left out is refused again and again."""
    fake_stripe.fail(Fault(executed=False, answer=EMAIL), times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(fake_stripe.account.token(), email="one@example.com")
    assert instance.row().attempt_id is None or len(fake_stripe.calls) < 20


def test_look_up_finds_nothing_of_an_attempt_to_forget(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    instance.save(fake_stripe.account.token())
    attempt = instance.attempts.claim_to_forget(instance.row().id)
    assert attempt is not None
    assert attempt.step is Step.FORGET
    assert instance.calls.look_up(attempt, lambda: 1.0) is None


def completer(instance: Instance) -> Completer:
    return Completer(
        instance.customers, instance.upkeep, instance.replaced_cards, instance.database, Metrics()
    )


def test_completer_asks_little_while_stripe_fails(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """A round ends after the first few attempts, and each is left alone for longer and longer."""
    number = PROBES + 5
    for one in range(number):
        attempt = instance.attempts.claim(instance.user(f"user-{one}"), fake_stripe.account.token())
        assert attempt is not None
        instance.attempts.release(attempt)
    instance.let_leases_expire()
    fake_stripe.fail(FAULTS["503"], times=None)
    completer(instance)._round()
    assert len(fake_stripe.calls) == PROBES
    completer(instance)._round()
    assert len(fake_stripe.calls) == number
    completer(instance)._round()
    assert len(fake_stripe.calls) == number
    fake_stripe.heal()
    instance.let_leases_expire()
    completer(instance)._round()
    assert instance.upkeep.open_attempts()[0] == 0
    assert instance.audit().is_clean, instance.audit()


def test_pacer_spaces_calls_and_stops() -> None:
    stopping = threading.Event()
    pacer = Pacer(stopping, per_second=50)
    began = time.monotonic()
    assert all(pacer.wait() for _ in range(6))
    assert time.monotonic() - began >= 5 / 50
    stopping.set()
    assert not pacer.wait()
