"""Two come for the same work: one does it, the other finds it done, and both tell the same."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
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

OpenHouse = Callable[..., House]
GONE = Fault(executed=False, answer=stripe_error(404, "resource_missing", "id"))
ODD = Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata"))


def leave_open(house: House, double: Double) -> str:
    """Leave an attempt open, whose outcome only Stripe knows; gives its token."""
    token = double.account.token()
    double.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    double.heal()
    return token


def complete(house: House) -> str:
    """Do what the completer does with the one attempt that is open."""
    (row,) = house.upkeep.expired(10, all_of_them=True)
    return house.customers.complete(row.id, row.attempt_id, row.partner_id)


@pytest.mark.parametrize("point", ["take_over.at", "accept.at"])
@pytest.mark.parametrize("who", ["the same request", "the completer"])
def test_open_attempt_is_finished_by_another_meanwhile(
    open_house: OpenHouse, double: Double, point: str, who: str
) -> None:
    """Just before it is taken over, or while its answer is on the way."""
    house, other = open_house(), open_house()
    token = leave_open(house, double)

    def finish() -> None:
        other.let_leases_expire()
        assert complete(other).startswith("cus_")

    house.crashes.pauses[point] = finish
    if who == "the completer":
        assert complete(house) == "overtaken"
    house.save(token)
    assert len(double.account.ledger) == 1
    assert house.audit().is_clean, house.audit()


def test_refusal_by_another_of_an_attempt_that_was_taken_over(
    open_house: OpenHouse, double: Double
) -> None:
    """The refusal of the caller's own token is counted once, though another process stores it."""
    house, other = open_house(), open_house()
    token = double.account.token("expired_card")
    double.fail(FAULTS["reset before execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    double.heal()

    def refuse() -> None:
        other.let_leases_expire()
        with pytest.raises(CardRefused):
            complete(other)

    house.crashes.pauses["refuse.at"] = refuse
    with pytest.raises(CardRefused):
        house.save(token)
    with house.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(refusals)) == 1


@pytest.mark.parametrize("kind", ["card", "token", "parameter"])
def test_who_waits_is_refused_alike(open_house: OpenHouse, double: Double, kind: str) -> None:
    """One call to Stripe, and whoever sent the same token is told the same."""
    houses = [open_house(call=5.0, request=10.0, lease=20.0) for _ in range(2)]
    token = {
        "card": double.account.token("expired_card"),
        "token": "tok_unknown",
        "parameter": double.account.token(),
    }[kind]
    double.processing = 0.2
    if kind == "parameter":
        double.fail(Fault(executed=False, answer=ODD.answer, delay=0.2))
    houses[0].user()

    def one(house: House) -> tuple[str, str]:
        with pytest.raises(UsersApiError) as told:
            house.save(token)
        return type(told.value).__name__, told.value.code

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(one, houses * 2))
    assert len(set(told)) == 1
    assert len(double.calls) == 1
    assert houses[0].audit().is_clean, houses[0].audit()


def test_customer_missing_for_a_call_that_names_none_is_our_fault(
    house: House, double: Double
) -> None:
    """The caller is not asked for another token, and nothing is left open."""
    double.fail(GONE, times=None)
    with pytest.raises(ParameterRefused):
        house.save(double.account.token())
    double.heal()
    house.save(double.account.token())
    assert house.audit().is_clean, house.audit()


def test_request_without_time_left_does_not_call_stripe(house: House, double: Double) -> None:
    """The database took all of it; the attempt is withdrawn."""
    token = double.account.token()
    house.crashes.pauses["claim.after"] = lambda: time.sleep(house.request + 0.1)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    assert double.calls == []
    house.save(token)
    assert house.audit().is_clean, house.audit()


# The completer.


def completer(house: House) -> Completer:
    return Completer(
        house.customers,
        house.upkeep,
        house.replaced_cards,
        house.database,
        Metrics(),
        interval=60.0,
    )


def test_completer_tells_what_became_of_each(house: House, double: Double) -> None:
    """Settled, refused, or still unknown: the log has a line for each, without secrets."""
    leave_open(house, double)
    house.let_leases_expire()
    with capture_logs() as logged:
        completer(house)._round()
    assert [event["outcome"] for event in logged] == [house.row().stripe_customer_id]
    leave_open(house, double)
    double.fail(FAULTS["503"], times=None)
    house.let_leases_expire()
    with capture_logs() as logged:
        completer(house)._round()
    outcomes = [event["outcome"] for event in logged if event["event"] == "completed"]
    assert outcomes == ["stripe_unavailable"]


def test_completer_that_is_told_to_stop_begins_nothing(house: House, double: Double) -> None:
    leave_open(house, double)
    house.let_leases_expire()
    stopping = completer(house)
    stopping._stopping.set()
    calls = len(double.calls)
    stopping._round()
    assert len(double.calls) == calls


@pytest.mark.parametrize("error", [StorageUnavailable(inner="gone"), ValueError("odd")])
def test_completer_outlives_what_goes_wrong(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It looks again: a service without it would leave attempts open for ever."""
    looks: list[float] = []

    def expired(_most: int) -> list[Any]:
        looks.append(time.monotonic())
        if len(looks) == 1:
            raise error
        return []

    monkeypatch.setattr(house.upkeep, "expired", expired)
    with capture_logs() as logged, house.completer(interval=0.01):
        deadline = time.monotonic() + 10
        while len(looks) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert {event["log_level"] for event in logged} <= {"warning", "error"}
    assert len(logged) == 1


def test_one_completer_is_at_work_among_many(open_house: OpenHouse) -> None:
    """The others wait for its lease to end."""
    first, second = completer(open_house()), completer(open_house())
    assert first._takes_lease()
    assert not second._takes_lease()
    assert first._takes_lease()


def test_refused_token_of_another_request_is_not_this_callers_business(
    open_house: OpenHouse, double: Double
) -> None:
    """What was left open turns out to be refused; the caller's own card is saved."""
    house = open_house()
    refused = double.account.token("card_declined")
    double.fail(FAULTS["reset before execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(refused)
    double.heal()
    mine = double.account.token()
    house.save(mine)
    assert house.row().token_hash == token_hash(mine)
    with pytest.raises(CardRefused):
        house.save(refused)
