"""`coord-users reconcile`: what it reports, changes during a run, and how a run ends."""

from collections.abc import Callable
from typing import Any

import pytest
from faults.call_faults import FAULTS, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
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
    summaries,
)

from app.errors import ConfigurationError, Misconfigured
from app.reconciliation import comparison
from app.reconciliation.finding import Finding
from app.storage.tables import metadata, users
from app.stripe_account.account import OutcomeUnknown


def test_customer_in_the_row_of_another_user_is_reported(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Neither its metadata nor the row is changed: it is not known which of them is right."""
    customer_id = instance.save(fake_stripe.account.token())
    metadata = fake_stripe.account.customers[customer_id].metadata
    metadata["coord_user"] = hash_of(instance, "user-2").hex()
    assert summaries(reconcile(instance)) == [("shared", "its metadata names another user", True)]
    metadata["coord_installation"] = "another"
    assert summaries(reconcile(instance)) == [
        ("shared", "its metadata names another installation", True)
    ]
    assert metadata["coord_user"] == hash_of(instance, "user-2").hex()
    assert instance.row().stripe_customer_id == customer_id


def test_user_whose_customer_was_deleted_is_reported(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """It is no fault of the service, and ends at the user's next update."""
    gone = instance.save(fake_stripe.account.token())
    fake_stripe.account.delete(gone)
    (found,) = reconcile(instance)
    assert (found.kind, found.is_left) == ("dangling", False)
    assert gone in found.what
    instance.save(fake_stripe.account.token())
    assert reconcile(instance) == []


def test_user_whose_customer_the_account_does_not_know_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    unknown = instance.save(fake_stripe.account.token())
    instance.save(fake_stripe.account.token(), "user-2")
    del fake_stripe.account.customers[unknown]
    (found,) = reconcile(instance)
    assert (found.kind, found.is_left) == ("dangling", True)
    assert unknown in found.what


def test_customer_that_was_created_during_the_run_is_not_dangling(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """It is read by itself, as it was not on the list."""
    instance.save(fake_stripe.account.token())
    run = begin(instance)
    listed = instance.stripe.created_between

    def saved_after(*args: Any, **options: Any) -> Any:
        yield from listed(*args, **options)
        instance.save(fake_stripe.account.token(), "user-2")

    instance.stripe.created_between = saved_after  # type: ignore[method-assign]
    assert list(run) == []


def test_customer_that_gets_its_owner_meanwhile_is_not_unknown(
    open_instance: Callable[..., Instance], fake_stripe: FakeStripe
) -> None:
    """Its attempt was open for long, and is settled just while the rows are read."""
    instance, other = open_instance(), open_instance()
    leave_open(instance, fake_stripe)
    fake_stripe.fail(FAULTS["503"], times=None)  # so that it stays open at first
    reads: list[str] = []

    def settle_between_two_reads(*passed: Any) -> None:
        statement = passed[2]
        if "users.stripe_customer_id IN" in statement or "users.attempt_id IN" in statement:
            reads.append(statement)
            if len(reads) == 2:
                fake_stripe.heal()
                assert other.complete() == 0

    event.listen(instance.database.engine, "before_cursor_execute", settle_between_two_reads)
    found = reconcile(instance)
    event.remove(instance.database.engine, "before_cursor_execute", settle_between_two_reads)
    assert len(reads) == 2
    assert kinds(found) == ["open_attempt"]
    assert instance.audit().is_clean, instance.audit()


def test_user_who_is_forgotten_between_two_reads_stays_forgotten(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """The page of the list still shows the customer, and the rows do not any more."""
    instance.save(fake_stripe.account.token(), "user-2")
    customer_id = instance.save(fake_stripe.account.token())
    listed, pages = instance.stripe.created_between, 0

    def forgotten_after(*args: Any, **options: Any) -> Any:
        nonlocal pages
        pages += 1
        found = list(listed(*args, **options))
        if pages == 1:
            instance.forgetting.forget(instance.row().id)
        return iter(found)

    instance.stripe.created_between = forgotten_after  # type: ignore[method-assign]
    assert reconcile(instance) == []
    assert fake_stripe.account.customers[customer_id].deleted
    with instance.database.reading() as connection:
        assert connection.execute(users.select()).one().subject == "user-2"


def test_dry_run_changes_nothing(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Not a row, and nothing at Stripe, whatever there is to repair."""
    instance.save(fake_stripe.account.token(), "user-0")
    fake_stripe.account.delete(instance.save(fake_stripe.account.token(), "user-1"))
    mark_as_version_1(
        instance, instance.save(fake_stripe.account.token(), "user-2"), instance.row("user-2").id
    )
    stray_of(instance, "user-3")
    stray_of(instance, "user-2")
    leave_open(instance, fake_stripe, "user-4")
    calls = len(fake_stripe.calls)

    def rows() -> list[Any]:
        with instance.database.reading() as connection:
            return [connection.execute(table.select()).all() for table in metadata.sorted_tables]

    before = rows()
    found = reconcile(instance, dry=True, delete=True)
    assert set(kinds(found)) == {"open_attempt", "adopted", "duplicate", "dangling"}
    assert all(one.is_left for one in found if one.kind != "dangling")
    assert {call.request.method for call in fake_stripe.calls[calls:]} == {"GET"}
    assert rows() == before


def test_progress_is_shown(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.reconciliation.reconcile.PROGRESS", 2)
    for number in range(3):
        subject = f"user-{number}"
        mark_as_version_1(
            instance, instance.save(fake_stripe.account.token(), subject), instance.row(subject).id
        )
    for _ in range(comparison.PROGRESS):
        stray(fake_stripe.account)
    shown: list[str] = []
    assert reconcile(instance, progress=shown.append) == []
    assert shown == [
        "1000 customers at Stripe compared",
        "3 users compared",
        "2 of 3 customers marked with their user",
    ]


def test_stripe_that_does_not_answer_ends_the_run(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """At the first call: which account it is, is not certain."""
    instance.save(fake_stripe.account.token())
    fake_stripe.fail(FAULTS["503"], times=None, method="GET")
    with pytest.raises(OutcomeUnknown):
        reconcile(instance)


def test_key_that_stripe_does_not_take_ends_the_run(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    unauthorized = Fault(executed=False, answer=stripe_error(401, "", type="invalid_request_error"))
    fake_stripe.fail(unauthorized, times=None, method="GET")
    with pytest.raises(Misconfigured):
        reconcile(instance)


@pytest.mark.parametrize("delete", [True, False])
def test_key_of_another_account_ends_the_run_before_anything(
    url: str, instance: Instance, fake_stripe: FakeStripe, delete: bool
) -> None:
    """Nothing is read but the newest stored customers, and nothing is changed."""
    instance.save(fake_stripe.account.token())
    with FakeStripe() as other, Instance(url, other) as misguided:
        stray_of(misguided)
        with pytest.raises(ConfigurationError, match="another account or mode"):
            reconcile(misguided, delete=delete)
        assert [call.request.method for call in other.calls] == ["GET"]
        assert len(other.account.live()) == 1


def test_interrupted_run_is_continued_by_the_next(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Each adoption is committed by itself."""
    instance.user()
    instance.save(fake_stripe.account.token(), "user-0")
    instance.change(stripe_customer_id=None)
    expected = {stray_of(instance, f"user-{number}") for number in range(1, 5)}
    run = begin(instance)
    first: Finding = next(run)
    run.close()
    assert first.kind == "adopted"
    found = reconcile(instance)
    with instance.database.reading() as connection:
        stored = set(
            connection.scalars(users.select().with_only_columns(users.c.stripe_customer_id))
        )
    assert expected < stored
    assert {one.kind for one in found} <= {"adopted"}
