"""Calls and processes that come too late: a request that Stripe gets long after its caller left,
and a process that slept while others took its work over."""

import threading
from collections.abc import Callable

import pytest
from faults.auditor import living
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, LATE, Fault

from app.errors import CardRefused, StripeUnavailable, UsersApiError

OpenHouse = Callable[..., House]


def facts(house: House) -> tuple[object, ...]:
    """Give what a user's row says of its customer."""
    row = house.row()
    return row.stripe_customer_id, row.token_hash, row.last_updated, row.attempt_id


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("in_between", ["nothing", "another card", "a refused card"])
def test_call_that_arrives_after_its_retry(
    house: House, double: Double, has_customer: bool, in_between: str
) -> None:
    """It is replayed, not executed, whatever happened since."""
    if has_customer:
        house.save(double.account.token())
    token = double.account.token()
    double.fail(LATE)
    house.save(token)
    if in_between == "another card":
        house.save(double.account.token())
    elif in_between == "a refused card":
        with pytest.raises(CardRefused):
            house.save(double.account.token("card_declined"))
    double.let_in()
    assert len(double.account.live()) == 1
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_refused_call_that_arrives_again_late(
    house: House, double: Double, has_customer: bool
) -> None:
    """A refusal is kept under its key: the late call makes nothing of it."""
    if has_customer:
        house.save(double.account.token())
    token = double.account.token("card_declined")
    double.fail(LATE)
    with pytest.raises(CardRefused):
        house.save(token)
    double.account.tokens[token] = None  # the bank has changed its mind
    double.let_in()
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("token", ["tok_visa", ""], ids=["for any use", "for one use"])
@pytest.mark.parametrize("hold", ["before", "during"])
@pytest.mark.parametrize(
    "bad_day",
    [
        FAULTS["500"],
        FAULTS["429"],
        FAULTS["503"],
        FAULTS["409"],
    ],
    ids=["500", "429", "503", "409"],
)
def test_failure_told_while_the_first_call_is_still_under_way(
    house: House, double: Double, token: str, hold: str, bad_day: Fault
) -> None:
    """What fails before Stripe looks at the key says nothing of the call that it holds."""
    token = token or double.account.token()
    double.fail(Fault(hold=hold))  # type: ignore[arg-type]
    double.fail(bad_day, times=3)
    for _ in range(3):
        try:
            house.save(token)
        except UsersApiError:
            continue
        break
    double.let_in()
    double.heal()
    house.complete()
    assert all(len(ids) == 1 for ids in living(double.account).values()), living(double.account)
    assert not house.audit().orphans


def test_process_that_slept_before_its_call(open_house: OpenHouse, double: Double) -> None:
    """Its attempt was finished by another, and a newer card was saved: it changes nothing."""
    sleeper, other = open_house(call=5.0, request=10.0), open_house()
    old, new = double.account.token(), double.account.token()
    asleep, awake = threading.Event(), threading.Event()

    def sleep() -> None:
        asleep.set()
        assert awake.wait(10)

    sleeper.crashes.pauses["call.before"] = sleep
    outcome: list[object] = []

    def request() -> None:
        try:
            outcome.append(sleeper.save(old))
        except UsersApiError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=request)
    thread.start()
    assert asleep.wait(10)
    other.let_leases_expire()
    other.save(new)
    awake.set()
    thread.join(10)
    assert other.audit().is_clean, other.audit()
    done = [entry.token for entry in double.account.ledger if entry.status == 200]
    assert done == [old, new]
    # Its card was saved and replaced since: either may be told, but no failure of ours.
    assert outcome in ([other.row().stripe_customer_id], ["token_already_used"])


@pytest.mark.parametrize("arrow", ["accept", "refuse", "renew", "restart", "release"])
def test_process_that_slept_before_it_wrote(
    open_house: OpenHouse, double: Double, arrow: str
) -> None:
    """What it knows is old: the guard lets it change nothing."""
    sleeper, other = open_house(call=5.0, request=10.0), open_house()
    other.save(double.account.token())
    old = double.account.token("card_declined" if arrow == "refuse" else None)
    if arrow in ("renew", "release"):
        double.fail(FAULTS["503"], times=1 if arrow == "renew" else 3)
    elif arrow == "restart":
        double.fail(FAULTS["500 kept"])
    new = double.account.token()
    asleep, awake = threading.Event(), threading.Event()

    def sleep() -> None:
        asleep.set()
        assert awake.wait(10)

    sleeper.crashes.pauses[f"{arrow}.at"] = sleep
    outcome: list[object] = []

    def request() -> None:
        try:
            outcome.append(sleeper.customers.save_card(sleeper.user(), old))
        except UsersApiError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=request)
    thread.start()
    assert asleep.wait(10)
    double.heal()
    other.let_leases_expire()
    other.save(new)
    before = facts(other)
    awake.set()
    thread.join(10)
    assert outcome
    assert facts(other) == before
    assert other.audit().is_clean, other.audit()


def test_unknown_outcome_is_unknown_to_both_who_wait(house: House, double: Double) -> None:
    """Nobody is told that it failed while Stripe may yet do it."""
    token = double.account.token()
    double.fail(LATE, times=None)
    for _ in range(2):
        with pytest.raises(StripeUnavailable):
            house.save(token)
    double.let_in()
    double.heal()
    house.save(token)
    assert len(double.account.ledger) == 1
    assert house.audit().is_clean, house.audit()
