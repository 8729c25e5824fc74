"""Two processes complete the same attempt: one does it, and both report the same."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults.call_faults import FAULTS, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from sqlalchemy import func, select
from structlog.testing import capture_logs

from app.customers.attempt import token_hash
from app.customers.completer import Completer
from app.errors import (
    CardRefused,
    ParameterRefused,
    StorageUnavailable,
    StripeUnavailable,
    UsersApiError,
)
from app.storage.tables import refusals
from app.telemetry.metrics import Metrics

OpenInstance = Callable[..., Instance]
GONE = Fault(executed=False, answer=stripe_error(404, "resource_missing", "id"))
ODD = Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata"))


def leave_open(instance: Instance, fake_stripe: FakeStripe) -> str:
    """Leave an attempt open, whose outcome only Stripe knows; returns its token."""
    token = fake_stripe.account.token()
    fake_stripe.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    fake_stripe.heal()
    return token


def complete(instance: Instance) -> str:
    """Do what the completer does with the one attempt that is open."""
    (row,) = instance.upkeep.expired(10, all_of_them=True)
    return instance.customers.complete(row.id, row.attempt_id, row.partner_id)


@pytest.mark.parametrize("point", ["take_over.at", "accept.at"])
@pytest.mark.parametrize("who", ["the same request", "the completer"])
def test_open_attempt_is_finished_by_another_meanwhile(
    open_instance: OpenInstance, fake_stripe: FakeStripe, point: str, who: str
) -> None:
    """Just before it is taken over, or while its answer is on the way."""
    instance, other = open_instance(), open_instance()
    token = leave_open(instance, fake_stripe)

    def finish() -> None:
        other.let_leases_expire()
        assert complete(other).startswith("cus_")

    instance.crashes.pauses[point] = finish
    if who == "the completer":
        assert complete(instance) == "overtaken"
    instance.save(token)
    assert len(fake_stripe.account.ledger) == 1
    assert instance.audit().is_clean, instance.audit()


def test_refusal_by_another_of_an_attempt_that_was_taken_over(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """The refusal of the caller's own token is counted once, though another process stores it."""
    instance, other = open_instance(), open_instance()
    token = fake_stripe.account.token("expired_card")
    fake_stripe.fail(FAULTS["reset before execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    fake_stripe.heal()

    def refuse() -> None:
        other.let_leases_expire()
        with pytest.raises(CardRefused):
            complete(other)

    instance.crashes.pauses["refuse.at"] = refuse
    with pytest.raises(CardRefused):
        instance.save(token)
    with instance.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(refusals)) == 1


@pytest.mark.parametrize("kind", ["card", "token", "parameter"])
def test_waiting_request_gets_the_same_refusal(
    open_instance: OpenInstance, fake_stripe: FakeStripe, kind: str
) -> None:
    """One call to Stripe; all requests with the same token get the same response."""
    instances = [open_instance(call=5.0, request=10.0, lease=20.0) for _ in range(2)]
    token = {
        "card": fake_stripe.account.token("expired_card"),
        "token": "tok_unknown",
        "parameter": fake_stripe.account.token(),
    }[kind]
    fake_stripe.processing = 0.2
    if kind == "parameter":
        fake_stripe.fail(Fault(executed=False, answer=ODD.answer, delay=0.2))
    instances[0].user()

    def one(instance: Instance) -> tuple[str, str]:
        with pytest.raises(UsersApiError) as error:
            instance.save(token)
        return type(error.value).__name__, error.value.code

    with ThreadPoolExecutor(4) as threads:
        result = list(threads.map(one, instances * 2))
    assert len(set(result)) == 1
    assert len(fake_stripe.calls) == 1
    assert instances[0].audit().is_clean, instances[0].audit()


def test_missing_customer_for_a_call_without_one_is_internal(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """The caller is not asked for another token, and nothing is left open."""
    fake_stripe.fail(GONE, times=None)
    with pytest.raises(ParameterRefused):
        instance.save(fake_stripe.account.token())
    fake_stripe.heal()
    instance.save(fake_stripe.account.token())
    assert instance.audit().is_clean, instance.audit()


def test_request_without_time_left_does_not_call_stripe(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """The database took all of it; the attempt is withdrawn."""
    token = fake_stripe.account.token()
    instance.crashes.pauses["claim.after"] = lambda: time.sleep(instance.request + 0.1)
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    assert fake_stripe.calls == []
    instance.save(token)
    assert instance.audit().is_clean, instance.audit()


# The completer.


def completer(instance: Instance) -> Completer:
    return Completer(
        instance.customers,
        instance.upkeep,
        instance.replaced_cards,
        instance.database,
        Metrics(),
        interval=60.0,
    )


def test_completer_logs_each_outcome(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Settled, refused or still unknown, without secrets."""
    leave_open(instance, fake_stripe)
    instance.let_leases_expire()
    with capture_logs() as logged:
        completer(instance)._round()
    assert [event["outcome"] for event in logged] == [instance.row().stripe_customer_id]
    leave_open(instance, fake_stripe)
    fake_stripe.fail(FAULTS["503"], times=None)
    instance.let_leases_expire()
    with capture_logs() as logged:
        completer(instance)._round()
    outcomes = [event["outcome"] for event in logged if event["event"] == "completed"]
    assert outcomes == ["stripe_unavailable"]


def test_stopped_completer_begins_nothing(instance: Instance, fake_stripe: FakeStripe) -> None:
    leave_open(instance, fake_stripe)
    instance.let_leases_expire()
    stopping = completer(instance)
    stopping._stopping.set()
    calls = len(fake_stripe.calls)
    stopping._round()
    assert len(fake_stripe.calls) == calls


@pytest.mark.parametrize("error", [StorageUnavailable(inner="gone"), ValueError("odd")])
def test_completer_survives_errors(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Without it, attempts would stay open."""
    looks: list[float] = []

    def expired(_most: int) -> list[Any]:
        looks.append(time.monotonic())
        if len(looks) == 1:
            raise error
        return []

    monkeypatch.setattr(instance.upkeep, "expired", expired)
    with capture_logs() as logged, instance.completer(interval=0.01):
        deadline = time.monotonic() + 10
        while len(looks) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert {event["log_level"] for event in logged} <= {"warning", "error"}
    assert len(logged) == 1


def test_one_completer_is_at_work_among_many(open_instance: OpenInstance) -> None:
    """The others wait for its lease to end."""
    first, second = completer(open_instance()), completer(open_instance())
    assert first._takes_lease()
    assert not second._takes_lease()
    assert first._takes_lease()


def test_refused_token_of_another_request_is_not_this_callers_business(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """What was left open turns out to be refused; the caller's own card is saved."""
    instance = open_instance()
    refused = fake_stripe.account.token("card_declined")
    fake_stripe.fail(FAULTS["reset before execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(refused)
    fake_stripe.heal()
    mine = fake_stripe.account.token()
    instance.save(mine)
    assert instance.row().token_hash == token_hash(mine)
    with pytest.raises(CardRefused):
        instance.save(refused)
