"""`coord-users reconcile`: what it reports, changes during a run, and how a run ends."""

from collections.abc import Callable
from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
from sqlalchemy import event
from support.reconciling import (
    begin,
    hash_of,
    kinds,
    leave_open,
    mark_as_version_1,
    reconcile,
    stray,
    stray_of,
    told,
)

from app.errors import ConfigurationError, Misconfigured
from app.reconciliation import comparison
from app.reconciliation.finding import Finding
from app.storage.tables import metadata, users
from app.stripe_account.account import OutcomeUnknown


def test_customer_in_the_row_of_another_user_is_reported(house: House, double: Double) -> None:
    """Neither its metadata nor the row is changed: which of them is right, nobody knows."""
    customer_id = house.save(double.account.token())
    metadata = double.account.customers[customer_id].metadata
    metadata["coord_user"] = hash_of(house, "user-2").hex()
    assert told(reconcile(house)) == [("shared", "its metadata names another user", True)]
    metadata["coord_installation"] = "another"
    assert told(reconcile(house)) == [("shared", "its metadata names another installation", True)]
    assert metadata["coord_user"] == hash_of(house, "user-2").hex()
    assert house.row().stripe_customer_id == customer_id


def test_user_whose_customer_was_deleted_is_reported(house: House, double: Double) -> None:
    """It is no fault of the service, and ends at the user's next update."""
    gone = house.save(double.account.token())
    double.account.delete(gone)
    (found,) = reconcile(house)
    assert (found.kind, found.is_left) == ("dangling", False)
    assert gone in found.what
    house.save(double.account.token())
    assert reconcile(house) == []


def test_user_whose_customer_the_account_does_not_know_is_left(
    house: House, double: Double
) -> None:
    unknown = house.save(double.account.token())
    house.save(double.account.token(), "user-2")
    del double.account.customers[unknown]
    (found,) = reconcile(house)
    assert (found.kind, found.is_left) == ("dangling", True)
    assert unknown in found.what


def test_customer_that_was_created_during_the_run_is_not_dangling(
    house: House, double: Double
) -> None:
    """It is read by itself, as it was not on the list."""
    house.save(double.account.token())
    run = begin(house)
    listed = house.stripe.created_between

    def saved_after(*args: Any, **options: Any) -> Any:
        yield from listed(*args, **options)
        house.save(double.account.token(), "user-2")

    house.stripe.created_between = saved_after  # type: ignore[method-assign]
    assert list(run) == []


def test_customer_that_gets_its_owner_meanwhile_is_not_unknown(
    open_house: Callable[..., House], double: Double
) -> None:
    """Its attempt was open for long, and is settled just while the rows are read."""
    house, other = open_house(), open_house()
    leave_open(house, double)
    double.fail(FAULTS["503"], times=None)  # so that it stays open at first
    reads: list[str] = []

    def settle_between_two_reads(*passed: Any) -> None:
        statement = passed[2]
        if "users.stripe_customer_id IN" in statement or "users.attempt_id IN" in statement:
            reads.append(statement)
            if len(reads) == 2:
                double.heal()
                assert other.complete() == 0

    event.listen(house.database.engine, "before_cursor_execute", settle_between_two_reads)
    found = reconcile(house)
    event.remove(house.database.engine, "before_cursor_execute", settle_between_two_reads)
    assert len(reads) == 2
    assert kinds(found) == ["open_attempt"]
    assert house.audit().is_clean, house.audit()


def test_user_who_is_forgotten_between_two_reads_stays_forgotten(
    house: House, double: Double
) -> None:
    """The page of the list still shows the customer, and the rows do not any more."""
    house.save(double.account.token(), "user-2")
    customer_id = house.save(double.account.token())
    listed, pages = house.stripe.created_between, 0

    def forgotten_after(*args: Any, **options: Any) -> Any:
        nonlocal pages
        pages += 1
        found = list(listed(*args, **options))
        if pages == 1:
            house.forgetting.forget(house.row().id)
        return iter(found)

    house.stripe.created_between = forgotten_after  # type: ignore[method-assign]
    assert reconcile(house) == []
    assert double.account.customers[customer_id].deleted
    with house.database.reading() as connection:
        assert connection.execute(users.select()).one().subject == "user-2"


def test_dry_run_changes_nothing(house: House, double: Double) -> None:
    """Not a row, and nothing at Stripe, whatever there is to repair."""
    house.save(double.account.token(), "user-0")
    double.account.delete(house.save(double.account.token(), "user-1"))
    mark_as_version_1(house, house.save(double.account.token(), "user-2"), house.row("user-2").id)
    stray_of(house, "user-3")
    stray_of(house, "user-2")
    leave_open(house, double, "user-4")
    calls = len(double.calls)

    def rows() -> list[Any]:
        with house.database.reading() as connection:
            return [connection.execute(table.select()).all() for table in metadata.sorted_tables]

    before = rows()
    found = reconcile(house, dry=True, delete=True)
    assert set(kinds(found)) == {"open_attempt", "adopted", "duplicate", "dangling"}
    assert all(one.is_left for one in found if one.kind != "dangling")
    assert {call.request.method for call in double.calls[calls:]} == {"GET"}
    assert rows() == before


def test_progress_is_shown(house: House, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.reconciliation.reconcile.PROGRESS", 2)
    for number in range(3):
        subject = f"user-{number}"
        mark_as_version_1(house, house.save(double.account.token(), subject), house.row(subject).id)
    for _ in range(comparison.PROGRESS):
        stray(double.account)
    shown: list[str] = []
    assert reconcile(house, progress=shown.append) == []
    assert shown == [
        "1000 customers at Stripe compared",
        "3 users compared",
        "2 of 3 customers marked with their user",
    ]


def test_stripe_that_does_not_answer_ends_the_run(house: House, double: Double) -> None:
    """At the first call: which account it is, is not certain."""
    house.save(double.account.token())
    double.fail(FAULTS["503"], times=None, method="GET")
    with pytest.raises(OutcomeUnknown):
        reconcile(house)


def test_key_that_stripe_does_not_take_ends_the_run(house: House, double: Double) -> None:
    unauthorized = Fault(executed=False, answer=stripe_error(401, "", type="invalid_request_error"))
    double.fail(unauthorized, times=None, method="GET")
    with pytest.raises(Misconfigured):
        reconcile(house)


@pytest.mark.parametrize("delete", [True, False])
def test_key_of_another_account_ends_the_run_before_anything(
    url: str, house: House, double: Double, delete: bool
) -> None:
    """Nothing is read but the newest stored customers, and nothing is changed."""
    house.save(double.account.token())
    with Double() as other, House(url, other) as misguided:
        stray_of(misguided)
        with pytest.raises(ConfigurationError, match="another account or mode"):
            reconcile(misguided, delete=delete)
        assert [call.request.method for call in other.calls] == ["GET"]
        assert len(other.account.live()) == 1


def test_interrupted_run_is_continued_by_the_next(house: House, double: Double) -> None:
    """Each adoption is committed by itself."""
    house.user()
    house.save(double.account.token(), "user-0")
    house.change(stripe_customer_id=None)
    expected = {stray_of(house, f"user-{number}") for number in range(1, 5)}
    run = begin(house)
    first: Finding = next(run)
    run.close()
    assert first.kind == "adopted"
    found = reconcile(house)
    with house.database.reading() as connection:
        stored = set(
            connection.scalars(users.select().with_only_columns(users.c.stripe_customer_id))
        )
    assert expected < stored
    assert {one.kind for one in found} <= {"adopted"}
