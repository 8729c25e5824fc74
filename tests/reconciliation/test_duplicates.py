"""A user's further customers: reported, and deleted only when the operator says so."""

from collections.abc import Callable
from typing import Any

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import (
    begin,
    kinds,
    mark_as_version_1,
    reconcile,
    stray_of,
)

from app.reconciliation.finding import Finding
from app.stripe_account.account import OutcomeUnknown


def living(fake_stripe: FakeStripe) -> set[str]:
    return {one.id for one in fake_stripe.account.live()}


def of_kind(found: list[Finding], kind: str) -> list[Finding]:
    return [one for one in found if one.kind == kind]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("delete", [True, False])
def test_older_duplicate(
    instance: Instance, fake_stripe: FakeStripe, dry: bool, delete: bool
) -> None:
    stored = instance.save(fake_stripe.account.token())
    older = stray_of(instance)
    (found,) = reconcile(instance, dry=dry, delete=delete)
    assert found.kind == "duplicate"
    assert older in found.what
    assert stored in found.outcome
    is_deleted = delete and not dry
    assert found.is_left is not is_deleted
    assert living(fake_stripe) == ({stored} if is_deleted else {stored, older})
    assert instance.row().stripe_customer_id == stored


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("delete", [True, False])
def test_duplicate_that_was_acknowledged_later(
    instance: Instance, fake_stripe: FakeStripe, dry: bool, delete: bool
) -> None:
    """As after a backup was restored: the row is switched to it, and the older one is deleted."""
    stored = instance.save(fake_stripe.account.token())
    later = stray_of(instance, acknowledged=-60)
    (found,) = reconcile(instance, dry=dry, delete=delete)
    assert found.kind == "duplicate"
    if not delete:
        assert later in found.what
        assert found.is_left
        assert living(fake_stripe) == {stored, later}
        return
    assert stored in found.what
    assert later in found.outcome
    assert found.is_left is dry
    assert living(fake_stripe) == ({stored, later} if dry else {later})
    assert instance.row().stripe_customer_id == (stored if dry else later)
    if not dry:
        assert instance.row().token_hash is None
        assert reconcile(instance, delete=True) == []
        assert instance.save(fake_stripe.account.token()) == later


def test_of_many_the_last_acknowledged_is_kept(instance: Instance, fake_stripe: FakeStripe) -> None:
    instance.save(fake_stripe.account.token())
    ages = [50, -60, 500, -30]
    others = [stray_of(instance, acknowledged=age) for age in ages]
    found = reconcile(instance, delete=True)
    assert kinds(found) == ["duplicate"] * 4
    assert not any(one.is_left for one in found)
    assert living(fake_stripe) == {others[1]}
    assert instance.row().stripe_customer_id == others[1]


def test_stored_customer_of_version_1_counts_from_its_last_update(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Its metadata does not tell when that was; the row does."""
    stored = instance.save(fake_stripe.account.token())
    mark_as_version_1(instance, stored, instance.row().id)
    fake_stripe.account.customers[stored].created -= 86_400
    other = stray_of(instance, acknowledged=60)
    reconcile(instance, delete=True)
    assert living(fake_stripe) == {stored}
    assert other not in living(fake_stripe)


def test_older_stored_customer_of_version_1_is_deleted_too(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """The row that holds it proves whose it is."""
    stored = instance.save(fake_stripe.account.token())
    mark_as_version_1(instance, stored, instance.row().id)
    later = stray_of(instance, acknowledged=-60)
    reconcile(instance, delete=True)
    assert living(fake_stripe) == {later}


def test_stored_customer_with_anothers_metadata_is_never_deleted(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    stored = instance.save(fake_stripe.account.token())
    fake_stripe.account.customers[stored].metadata["coord_installation"] = "another"
    later = stray_of(instance, acknowledged=-60)
    found = of_kind(reconcile(instance, delete=True), "duplicate")
    assert [later in one.what for one in found] == [True]
    assert found[0].is_left
    assert living(fake_stripe) == {stored, later}
    assert instance.row().stripe_customer_id == stored


def after_the_list(instance: Instance, change: Any) -> None:
    """Do something at Stripe or in the database once the list was read to its end."""
    listed = instance.stripe.created_between

    def then(*args: Any, **options: Any) -> Any:
        yield from listed(*args, **options)
        change()

    instance.stripe.created_between = then  # type: ignore[method-assign]


def test_duplicate_whose_metadata_has_changed_is_not_deleted(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    stored = instance.save(fake_stripe.account.token())
    other = stray_of(instance)
    metadata = fake_stripe.account.customers[other].metadata
    after_the_list(instance, lambda: metadata.update(coord_user="f" * 64))
    assert reconcile(instance, delete=True) == []
    assert living(fake_stripe) == {stored, other}


@pytest.mark.parametrize("is_known", [True, False])
def test_nothing_is_deleted_once_the_stored_customer_is_gone(
    instance: Instance, fake_stripe: FakeStripe, is_known: bool
) -> None:
    """The duplicate is then the user's only one."""
    instance.save(fake_stripe.account.token(), "user-2")
    stored = instance.save(fake_stripe.account.token())
    other = stray_of(instance)

    def gone() -> None:
        fake_stripe.account.customers[stored].deleted = True
        if not is_known:
            fake_stripe.account.customers.pop(stored, None)

    run = begin(instance, delete=True)
    retrieve, asked = instance.stripe.retrieve, []

    def gone_before(customer_id: str, **options: Any) -> Any:
        asked.append(customer_id)
        if customer_id == stored and len(asked) > 1:
            fake_stripe.account.customers.get(stored) and gone()
        return retrieve(customer_id, **options)

    instance.stripe.retrieve = gone_before  # type: ignore[method-assign]
    found = of_kind(list(run), "duplicate")
    assert [one.is_left for one in found] == [True]
    assert other in living(fake_stripe)


def test_duplicate_that_is_gone_before_it_is_deleted(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Whether before it is read again, or after."""
    stored = instance.save(fake_stripe.account.token())
    other = stray_of(instance)
    after_the_list(instance, lambda: fake_stripe.account.delete(other))
    assert reconcile(instance, delete=True) == []
    assert living(fake_stripe) == {stored}
    another = stray_of(instance)
    delete = instance.stripe.delete

    def deleted_before(customer_id: str, **options: Any) -> None:
        fake_stripe.account.delete(another)
        delete(customer_id, **options)

    instance.stripe.delete = deleted_before  # type: ignore[method-assign]
    (found,) = reconcile(instance, delete=True)
    assert (found.outcome, found.is_left) == ("was deleted meanwhile", False)


def test_deletion_without_an_answer_is_left(instance: Instance, fake_stripe: FakeStripe) -> None:
    """The next run finds out."""
    instance.save(fake_stripe.account.token())
    stray_of(instance)
    fake_stripe.fail(FAULTS["503"], times=None, method="DELETE")
    (found,) = reconcile(instance, delete=True)
    assert found.is_left
    assert found.outcome.startswith("perhaps deleted")


def test_nothing_is_deleted_when_a_read_fails(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Not even a customer that was read well: here, the user of another one is looked at."""
    instance.save(fake_stripe.account.token())
    other = stray_of(instance)
    dangling = instance.save(fake_stripe.account.token(), "user-2")
    fake_stripe.account.delete(dangling)
    run = begin(instance, delete=True)
    retrieve, asked = instance.stripe.retrieve, []

    def failing(customer_id: str, **options: Any) -> Any:
        asked.append(customer_id)
        if len(asked) > 1:
            raise OutcomeUnknown("no answer")
        return retrieve(customer_id, **options)

    instance.stripe.retrieve = failing  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown):
        list(run)
    assert other in living(fake_stripe)
    assert not any(call.request.method == "DELETE" for call in fake_stripe.calls)


def before_deletion(change: Callable[[], object]) -> Callable[[str], None]:
    """Do something after all is read, before the duplicates are looked at."""

    def progress(words: str) -> None:
        if "users compared" in words:
            change()

    return progress


@pytest.mark.parametrize("moment", ["before", "at the last moment"])
def test_duplicate_that_became_its_users_customer_is_not_deleted(
    instance: Instance, fake_stripe: FakeStripe, moment: str
) -> None:
    """The row is read once more, right before."""
    stored = instance.save(fake_stripe.account.token())
    other = stray_of(instance)
    retrieve = instance.stripe.retrieve

    def switch() -> None:
        instance.change(stripe_customer_id=other)

    def switched_before(customer_id: str, **options: Any) -> Any:
        if customer_id == other:
            switch()
        return retrieve(customer_id, **options)

    if moment == "before":
        found = reconcile(instance, delete=True, progress=before_deletion(switch))
        assert found == []
    else:
        instance.stripe.retrieve = switched_before  # type: ignore[method-assign]
        found = reconcile(instance, delete=True)
        assert [(one.kind, one.is_left) for one in found] == [("duplicate", True)]
    assert living(fake_stripe) == {stored, other}


@pytest.mark.parametrize("delete", [True, False])
@pytest.mark.parametrize(
    "change", [{"attempt_id": "busy"}, {"stripe_customer_id": None}, {"user_hash": b"other"}]
)
def test_user_who_changes_meanwhile_is_left(
    instance: Instance, fake_stripe: FakeStripe, delete: bool, change: dict[str, Any]
) -> None:
    stored = instance.save(fake_stripe.account.token())
    other = stray_of(instance)
    progress = before_deletion(lambda: instance.change(**change))
    (found,) = reconcile(instance, delete=delete, progress=progress)
    assert (found.kind, found.is_left) == ("duplicate", True)
    assert living(fake_stripe) == {stored, other}
    instance.change(attempt_id=None)


def test_row_that_changes_before_it_is_switched_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """The service's change stands, and nothing is deleted."""
    stored = instance.save(fake_stripe.account.token())
    later = stray_of(instance, acknowledged=-60)
    retrieve = instance.stripe.retrieve

    def busy(customer_id: str, **options: Any) -> Any:
        if customer_id == later:
            instance.change(attempt_id="busy")
        return retrieve(customer_id, **options)

    instance.stripe.retrieve = busy  # type: ignore[method-assign]
    found = of_kind(reconcile(instance, delete=True), "duplicate")
    assert [one.is_left for one in found] == [True]
    assert living(fake_stripe) == {stored, later}
    instance.change(attempt_id=None)
