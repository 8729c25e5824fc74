"""`coord-users reconcile`: tells and repairs what does not agree with Stripe."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from faults.account import Customer
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
from sqlalchemy import event

from app.customers import reconcile
from app.customers.reconcile import Finding, Reconciliation
from app.errors import StripeUnavailable
from app.storage.tables import metadata
from app.stripe_account.account import OutcomeUnknown


def run(house: House, *, dry: bool = False, said: list[str] | None = None) -> list[Finding]:
    """Run once, as the command does."""
    progress: Any = said.append if said is not None else lambda _words: None
    run = Reconciliation(
        house.customers,
        house.upkeep,
        house.database,
        house.stripe,
        house.database.installation(),
        dry_run=dry,
        progress=progress,
    )
    return list(run.run())


def orphan(house: House, double: Double, age: float = 3600, **metadata: str) -> str:
    """Give Stripe a customer that no user owns."""
    told = {"coord_installation": house.database.installation(), "coord_user": "1", **metadata}
    number = len(double.account.customers)
    one = Customer(f"cus_orphan{number}", int(time.time() - age), None, told, "tok_visa")
    double.account.customers[one.id] = one
    return one.id


def leave_open(house: House, double: Double) -> str:
    token = double.account.token()
    double.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    double.heal()
    return token


def kinds(findings: list[Finding]) -> list[tuple[str, str, bool]]:
    return [(one.kind, one.outcome, one.is_left) for one in findings]


def test_nothing_to_find(house: House, double: Double) -> None:
    house.save(double.account.token())
    assert run(house) == []


@pytest.mark.parametrize("dry", [True, False])
def test_open_attempt_is_settled(house: House, double: Double, dry: bool) -> None:
    leave_open(house, double)
    before = house.row()
    found = kinds(run(house, dry=dry))
    if dry:
        assert found == [("open_attempt", "would be settled", True)]
        assert house.row() == before
    else:
        assert found == [("open_attempt", "settled", False)]
        assert house.audit().is_clean, house.audit()


def test_open_attempt_that_is_refused_is_settled_too(house: House, double: Double) -> None:
    double.fail(FAULTS["reset before execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(double.account.token("expired_card"))
    double.heal()
    assert kinds(run(house)) == [("open_attempt", "expired_card", False)]


def test_open_attempt_whose_outcome_stays_unknown_is_left(house: House, double: Double) -> None:
    leave_open(house, double)
    double.fail(FAULTS["503"], times=None, method="POST")
    assert kinds(run(house)) == [("open_attempt", "stripe_unavailable", True)]


@pytest.mark.parametrize("dry", [True, False])
def test_orphan_is_deleted(house: House, double: Double, dry: bool) -> None:
    owned = house.save(double.account.token())
    double.account.customers[owned].created -= 3600
    one = orphan(house, double)
    found = run(house, dry=dry)
    assert [(finding.kind, finding.what) for finding in found] == [("orphan", one)]
    assert found[0].is_left is dry
    left = {customer.id for customer in double.account.live()}
    assert left == ({owned, one} if dry else {owned})


def test_customers_of_others_are_not_touched(house: House, double: Double) -> None:
    """Made by hand, by another installation, young, or of an attempt that is under way."""
    house.save(double.account.token())
    leave_open(house, double)
    double.fail(FAULTS["503"], times=None, method="POST")
    spared = [
        orphan(house, double, coord_installation="another"),
        orphan(house, double, age=60),
        orphan(house, double, coord_attempt=house.row().attempt_id),
    ]
    by_hand = Customer("cus_by_hand", 1, None, {}, "tok_visa")
    double.account.customers[by_hand.id] = by_hand
    assert [one.kind for one in run(house)] == ["open_attempt"]
    left = {customer.id for customer in double.account.live()}
    assert {*spared, by_hand.id} <= left


@pytest.mark.parametrize(
    ("fault", "outcome"), [("503", ("unknown", True)), ("reset after execution", ("gone", False))]
)
def test_orphan_that_cannot_be_deleted(
    house: House, double: Double, fault: str, outcome: tuple[str, bool]
) -> None:
    """Nobody knows, which leaves it for the next run; or it is gone already, which is as well."""
    one = orphan(house, double)
    if outcome[0] == "gone":
        listed = house.stripe.created_between

        def listed_then_gone(*args: Any, **options: Any) -> Any:
            found = list(listed(*args, **options))
            double.account.delete(one)
            return iter(found)

        house.stripe.created_between = listed_then_gone  # type: ignore[method-assign]
    else:
        double.fail(FAULTS[fault], times=None, method="DELETE")
    assert kinds(run(house)) == [("orphan", *outcome)]


def test_user_whose_customer_is_gone_is_told(house: House, double: Double) -> None:
    """It is no fault of ours, and mends itself at the user's next update."""
    gone = house.save(double.account.token())
    double.account.delete(gone)
    (found,) = run(house)
    assert (found.kind, found.is_left) == ("dangling", False)
    assert gone in found.what
    house.save(double.account.token())
    assert run(house) == []


def test_many_orphans_are_deleted_in_one_run(house: House, double: Double) -> None:
    """Stripe's list goes on from the last customer of each page, which must be there still."""
    orphans = [orphan(house, double) for _ in range(1100)]
    found = run(house)
    assert sorted(one.what for one in found) == sorted(orphans)
    assert double.account.live() == []


def test_customer_that_gets_its_owner_meanwhile_is_no_orphan(
    open_house: Callable[..., House], double: Double
) -> None:
    """Its attempt was open for long, and is settled just while it is asked whose it is."""
    house, other = open_house(), open_house()
    leave_open(house, double)
    house.grow_old(3600)
    double.fail(FAULTS["503"])  # so that it stays open at first
    reads: list[str] = []

    def settle_between_two_reads(*told: Any) -> None:
        statement = told[2]
        if "users.stripe_customer_id IN" in statement or "users.attempt_id IN" in statement:
            reads.append(statement)
            if len(reads) == 2:
                assert other.complete() == 0

    event.listen(house.database.engine, "before_cursor_execute", settle_between_two_reads)
    found = run(house)
    assert len(reads) == 2
    assert [one.kind for one in found] == ["open_attempt"]
    assert house.audit().is_clean, house.audit()


def test_attempt_in_another_process_is_left_to_it(
    open_house: Callable[..., House], double: Double
) -> None:
    """It was open when it was found, and is taken over just before."""
    house, other = open_house(), open_house()
    leave_open(house, double)
    house.crashes.pauses["take_over.at"] = other.complete
    assert kinds(run(house)) == [("open_attempt", "overtaken", False)]
    assert house.audit().is_clean, house.audit()


def test_attempt_whose_parameters_stripe_refuses_is_settled(house: House, double: Double) -> None:
    """It is closed, so it is not left, though it was our fault."""
    leave_open(house, double)
    double.fail(
        Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata")), times=None
    )
    assert kinds(run(house)) == [("open_attempt", "internal", False)]
    assert house.row().attempt_id is None


def test_dry_run_changes_nothing(house: House, double: Double) -> None:
    """Not a row, and nothing at Stripe, whatever there is to repair."""
    double.account.delete(house.save(double.account.token(), "user-1"))
    orphan(house, double)
    leave_open(house, double)
    calls = len(double.calls)

    def rows() -> list[Any]:
        with house.database.reading() as connection:
            return [connection.execute(table.select()).all() for table in metadata.sorted_tables]

    before = rows()
    found = run(house, dry=True)
    assert {one.kind for one in found} == {"open_attempt", "orphan", "dangling"}
    assert {call.request.method for call in double.calls[calls:]} == {"GET"}
    assert rows() == before


def test_progress_is_shown_on_long_work(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the work goes on page by page."""
    monkeypatch.setattr(reconcile, "PAGE", 2)
    for number in range(3):
        house.save(double.account.token(), f"user-{number}")
    orphans = [orphan(house, double) for _ in range(3)]
    for number in range(1000):
        one = Customer(f"cus_other{number}", 1, None, {}, "tok_visa")
        double.account.customers[one.id] = one
    said: list[str] = []
    found = run(house, said=said)
    assert sorted(one.what for one in found) == sorted(orphans)
    assert said[0] == "1000 customers at Stripe compared"
    assert said[-1] == "3 users compared"


def test_stripe_that_does_not_answer_ends_the_run(house: House, double: Double) -> None:
    double.fail(FAULTS["503"], times=None, method="GET")
    with pytest.raises(OutcomeUnknown):
        run(house)
