"""A user's further customers: reported, and deleted only when the operator says so."""

from collections.abc import Callable
from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS
from support.reconciling import (
    begin,
    kinds,
    mark_as_version_1,
    reconcile,
    stray_of,
)

from app.reconciliation.finding import Finding
from app.stripe_account.account import OutcomeUnknown


def living(double: Double) -> set[str]:
    return {one.id for one in double.account.live()}


def of_kind(found: list[Finding], kind: str) -> list[Finding]:
    return [one for one in found if one.kind == kind]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("delete", [True, False])
def test_older_duplicate(house: House, double: Double, dry: bool, delete: bool) -> None:
    stored = house.save(double.account.token())
    older = stray_of(house)
    (found,) = reconcile(house, dry=dry, delete=delete)
    assert found.kind == "duplicate"
    assert older in found.what
    assert stored in found.outcome
    is_deleted = delete and not dry
    assert found.is_left is not is_deleted
    assert living(double) == ({stored} if is_deleted else {stored, older})
    assert house.row().stripe_customer_id == stored


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("delete", [True, False])
def test_duplicate_that_was_acknowledged_later(
    house: House, double: Double, dry: bool, delete: bool
) -> None:
    """As after a backup was restored: the row is switched to it, and the older one is deleted."""
    stored = house.save(double.account.token())
    later = stray_of(house, acknowledged=-60)
    (found,) = reconcile(house, dry=dry, delete=delete)
    assert found.kind == "duplicate"
    if not delete:
        assert later in found.what
        assert found.is_left
        assert living(double) == {stored, later}
        return
    assert stored in found.what
    assert later in found.outcome
    assert found.is_left is dry
    assert living(double) == ({stored, later} if dry else {later})
    assert house.row().stripe_customer_id == (stored if dry else later)
    if not dry:
        assert house.row().token_hash is None
        assert reconcile(house, delete=True) == []
        assert house.save(double.account.token()) == later


def test_of_many_the_last_acknowledged_is_kept(house: House, double: Double) -> None:
    house.save(double.account.token())
    ages = [50, -60, 500, -30]
    others = [stray_of(house, acknowledged=age) for age in ages]
    found = reconcile(house, delete=True)
    assert kinds(found) == ["duplicate"] * 4
    assert not any(one.is_left for one in found)
    assert living(double) == {others[1]}
    assert house.row().stripe_customer_id == others[1]


def test_stored_customer_of_version_1_counts_from_its_last_update(
    house: House, double: Double
) -> None:
    """Its metadata does not tell when that was; the row does."""
    stored = house.save(double.account.token())
    mark_as_version_1(house, stored, house.row().id)
    double.account.customers[stored].created -= 86_400
    other = stray_of(house, acknowledged=60)
    reconcile(house, delete=True)
    assert living(double) == {stored}
    assert other not in living(double)


def test_older_stored_customer_of_version_1_is_deleted_too(house: House, double: Double) -> None:
    """The row that holds it proves whose it is."""
    stored = house.save(double.account.token())
    mark_as_version_1(house, stored, house.row().id)
    later = stray_of(house, acknowledged=-60)
    reconcile(house, delete=True)
    assert living(double) == {later}


def test_stored_customer_with_anothers_metadata_is_never_deleted(
    house: House, double: Double
) -> None:
    stored = house.save(double.account.token())
    double.account.customers[stored].metadata["coord_installation"] = "another"
    later = stray_of(house, acknowledged=-60)
    found = of_kind(reconcile(house, delete=True), "duplicate")
    assert [later in one.what for one in found] == [True]
    assert found[0].is_left
    assert living(double) == {stored, later}
    assert house.row().stripe_customer_id == stored


def after_the_list(house: House, change: Any) -> None:
    """Do something at Stripe or in the database once the list was read to its end."""
    listed = house.stripe.created_between

    def then(*args: Any, **options: Any) -> Any:
        yield from listed(*args, **options)
        change()

    house.stripe.created_between = then  # type: ignore[method-assign]


def test_duplicate_whose_metadata_has_changed_is_not_deleted(house: House, double: Double) -> None:
    stored = house.save(double.account.token())
    other = stray_of(house)
    metadata = double.account.customers[other].metadata
    after_the_list(house, lambda: metadata.update(coord_user="f" * 64))
    assert reconcile(house, delete=True) == []
    assert living(double) == {stored, other}


@pytest.mark.parametrize("is_known", [True, False])
def test_nothing_is_deleted_once_the_stored_customer_is_gone(
    house: House, double: Double, is_known: bool
) -> None:
    """The duplicate is then the user's only one."""
    house.save(double.account.token(), "user-2")
    stored = house.save(double.account.token())
    other = stray_of(house)

    def gone() -> None:
        double.account.customers[stored].deleted = True
        if not is_known:
            double.account.customers.pop(stored, None)

    run = begin(house, delete=True)
    retrieve, asked = house.stripe.retrieve, []

    def gone_before(customer_id: str, **options: Any) -> Any:
        asked.append(customer_id)
        if customer_id == stored and len(asked) > 1:
            double.account.customers.get(stored) and gone()
        return retrieve(customer_id, **options)

    house.stripe.retrieve = gone_before  # type: ignore[method-assign]
    found = of_kind(list(run), "duplicate")
    assert [one.is_left for one in found] == [True]
    assert other in living(double)


def test_duplicate_that_is_gone_before_it_is_deleted(house: House, double: Double) -> None:
    """Whether before it is read again, or after."""
    stored = house.save(double.account.token())
    other = stray_of(house)
    after_the_list(house, lambda: double.account.delete(other))
    assert reconcile(house, delete=True) == []
    assert living(double) == {stored}
    another = stray_of(house)
    delete = house.stripe.delete

    def deleted_before(customer_id: str, **options: Any) -> None:
        double.account.delete(another)
        delete(customer_id, **options)

    house.stripe.delete = deleted_before  # type: ignore[method-assign]
    (found,) = reconcile(house, delete=True)
    assert (found.outcome, found.is_left) == ("was deleted meanwhile", False)


def test_deletion_without_an_answer_is_left(house: House, double: Double) -> None:
    """The next run finds out."""
    house.save(double.account.token())
    stray_of(house)
    double.fail(FAULTS["503"], times=None, method="DELETE")
    (found,) = reconcile(house, delete=True)
    assert found.is_left
    assert found.outcome.startswith("perhaps deleted")


def test_nothing_is_deleted_when_a_read_fails(house: House, double: Double) -> None:
    """Not even a customer that was read well: here, the user of another one is looked at."""
    house.save(double.account.token())
    other = stray_of(house)
    dangling = house.save(double.account.token(), "user-2")
    double.account.delete(dangling)
    run = begin(house, delete=True)
    retrieve, asked = house.stripe.retrieve, []

    def failing(customer_id: str, **options: Any) -> Any:
        asked.append(customer_id)
        if len(asked) > 1:
            raise OutcomeUnknown("no answer")
        return retrieve(customer_id, **options)

    house.stripe.retrieve = failing  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        list(run)
    assert other in living(double)
    assert not any(call.request.method == "DELETE" for call in double.calls)


def before_deletion(change: Callable[[], object]) -> Callable[[str], None]:
    """Do something after all is read, before the duplicates are looked at."""

    def progress(words: str) -> None:
        if "users compared" in words:
            change()

    return progress


@pytest.mark.parametrize("moment", ["before", "at the last moment"])
def test_duplicate_that_became_its_users_customer_is_not_deleted(
    house: House, double: Double, moment: str
) -> None:
    """The row is read once more, right before."""
    stored = house.save(double.account.token())
    other = stray_of(house)
    retrieve = house.stripe.retrieve

    def switch() -> None:
        house.change(stripe_customer_id=other)

    def switched_before(customer_id: str, **options: Any) -> Any:
        if customer_id == other:
            switch()
        return retrieve(customer_id, **options)

    if moment == "before":
        found = reconcile(house, delete=True, progress=before_deletion(switch))
        assert found == []
    else:
        house.stripe.retrieve = switched_before  # type: ignore[method-assign]
        found = reconcile(house, delete=True)
        assert [(one.kind, one.is_left) for one in found] == [("duplicate", True)]
    assert living(double) == {stored, other}


@pytest.mark.parametrize("delete", [True, False])
@pytest.mark.parametrize(
    "change", [{"attempt_id": "busy"}, {"stripe_customer_id": None}, {"user_hash": b"other"}]
)
def test_user_who_changes_meanwhile_is_left(
    house: House, double: Double, delete: bool, change: dict[str, Any]
) -> None:
    stored = house.save(double.account.token())
    other = stray_of(house)
    progress = before_deletion(lambda: house.change(**change))
    (found,) = reconcile(house, delete=delete, progress=progress)
    assert (found.kind, found.is_left) == ("duplicate", True)
    assert living(double) == {stored, other}
    house.change(attempt_id=None)


def test_row_that_changes_before_it_is_switched_is_left(house: House, double: Double) -> None:
    """The service's change stands, and nothing is deleted."""
    stored = house.save(double.account.token())
    later = stray_of(house, acknowledged=-60)
    retrieve = house.stripe.retrieve

    def busy(customer_id: str, **options: Any) -> Any:
        if customer_id == later:
            house.change(attempt_id="busy")
        return retrieve(customer_id, **options)

    house.stripe.retrieve = busy  # type: ignore[method-assign]
    found = of_kind(reconcile(house, delete=True), "duplicate")
    assert [one.is_left for one in found] == [True]
    assert living(double) == {stored, later}
    house.change(attempt_id=None)
