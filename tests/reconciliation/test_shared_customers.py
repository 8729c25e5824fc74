"""Customers that two rows held before that was forbidden: set aside by migration 0003."""

from typing import Any

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import hash_of, kinds, mark_as_version_1, reconcile


def shared(instance: Instance, fake_stripe: FakeStripe) -> str:
    """Set up two rows that had one customer, whose version 1.0 metadata names the second."""
    customer_id = instance.save(fake_stripe.account.token(), "user-1")
    second = instance.save(fake_stripe.account.token(), "user-2")
    fake_stripe.account.delete(second)
    instance.save(fake_stripe.account.token(), "user-3")
    for subject in ("user-1", "user-2"):
        instance.change(
            subject, stripe_customer_id=None, shared_customer_id=customer_id, token_hash=None
        )
    mark_as_version_1(instance, customer_id, instance.row("user-2").id)
    instance.acknowledged.clear()
    return customer_id


def aside(instance: Instance) -> list[Any]:
    return [instance.row(f"user-{number}").shared_customer_id for number in (1, 2)]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("mark", ["row", "hash"])
def test_metadata_decides(
    instance: Instance, fake_stripe: FakeStripe, dry: bool, mark: str
) -> None:
    customer_id = shared(instance, fake_stripe)
    if mark == "hash":
        user = hash_of(instance, "user-2").hex()
        fake_stripe.account.customers[customer_id].metadata["coord_user"] = user
    (found,) = reconcile(instance, dry=dry)
    assert found.kind == "shared"
    assert found.is_left is dry
    assert f"given to user {instance.row('user-2').id}" in found.outcome
    if dry:
        assert aside(instance) == [customer_id] * 2
        return
    assert aside(instance) == [None, None]
    assert instance.row("user-2").stripe_customer_id == customer_id
    assert instance.row("user-1").stripe_customer_id is None
    user = fake_stripe.account.customers[customer_id].metadata["coord_user"]
    assert user == hash_of(instance, "user-2").hex()
    assert reconcile(instance) == []
    assert instance.save(fake_stripe.account.token(), "user-2") == customer_id
    assert instance.save(fake_stripe.account.token(), "user-1") != customer_id
    assert instance.audit().is_clean, instance.audit()


def test_deleted_one_is_nobodys(instance: Instance, fake_stripe: FakeStripe) -> None:
    fake_stripe.account.delete(shared(instance, fake_stripe))
    (found,) = reconcile(instance)
    assert (found.kind, found.is_left) == ("shared", False)
    assert aside(instance) == [None, None]


def test_one_that_the_account_does_not_know_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    customer_id = shared(instance, fake_stripe)
    del fake_stripe.account.customers[customer_id]
    (found,) = reconcile(instance)
    assert (found.kind, found.is_left) == ("shared", True)
    assert aside(instance) == [customer_id] * 2


@pytest.mark.parametrize("user", ["", "99", "f" * 64])
def test_one_whose_metadata_proves_no_row_is_left(
    instance: Instance, fake_stripe: FakeStripe, user: str
) -> None:
    """It is not reported a second time, unless its metadata names a user without a row."""
    customer_id = shared(instance, fake_stripe)
    fake_stripe.account.customers[customer_id].metadata["coord_user"] = user
    found = reconcile(instance, delete=True)
    assert (found[0].kind, found[0].is_left) == ("shared", True)
    assert kinds(found[1:]) == (["adopted"] if len(user) == 64 else ["unowned"])
    assert aside(instance) == [customer_id] * 2
    if len(user) == 64:
        assert kinds(reconcile(instance)) == ["shared"]
        assert aside(instance) == [None, None]


def test_one_of_another_installation_is_left(instance: Instance, fake_stripe: FakeStripe) -> None:
    customer_id = shared(instance, fake_stripe)
    fake_stripe.account.customers[customer_id].metadata["coord_installation"] = "another"
    assert [(one.kind, one.is_left) for one in reconcile(instance)] == [("shared", True)]
    assert aside(instance) == [customer_id] * 2


def test_user_who_has_another_one_by_now(instance: Instance, fake_stripe: FakeStripe) -> None:
    """The shared one is that user's duplicate then."""
    customer_id = shared(instance, fake_stripe)
    own = instance.save(fake_stripe.account.token(), "user-2")
    found = reconcile(instance)
    assert kinds(found) == ["shared", "duplicate"]
    assert [one.is_left for one in found] == [False, True]
    assert aside(instance) == [None, None]
    assert customer_id in found[1].what
    assert kinds(reconcile(instance, delete=True)) == ["duplicate"]
    assert own in {one.id for one in fake_stripe.account.live()}
    assert reconcile(instance) == []
    assert instance.audit().is_clean, instance.audit()


def test_user_with_an_open_attempt_is_left(instance: Instance, fake_stripe: FakeStripe) -> None:
    """And the customer is not reported a second time, as unowned."""
    customer_id = shared(instance, fake_stripe)
    instance.change("user-2", attempt_id="busy")
    (found,) = reconcile(instance)
    assert (found.kind, found.is_left) == ("shared", True)
    user = hash_of(instance, "user-2").hex()
    fake_stripe.account.customers[customer_id].metadata["coord_user"] = user
    assert kinds(reconcile(instance)) == ["shared"]
    instance.change("user-2", attempt_id=None)


def test_row_that_changes_meanwhile_is_left(instance: Instance, fake_stripe: FakeStripe) -> None:
    customer_id = shared(instance, fake_stripe)
    set_metadata = instance.stripe.set_metadata

    def busy(*args: Any, **options: Any) -> Any:
        instance.change("user-2", attempt_id="busy")
        return set_metadata(*args, **options)

    instance.stripe.set_metadata = busy  # type: ignore[method-assign]
    (found,) = reconcile(instance)
    assert (found.kind, found.is_left) == ("shared", True)
    assert aside(instance) == [customer_id] * 2
    instance.change("user-2", attempt_id=None)


def test_half_done_decision_is_completed(instance: Instance, fake_stripe: FakeStripe) -> None:
    """After a crash between giving the customer to one row and taking it from the other."""
    customer_id = shared(instance, fake_stripe)
    user = hash_of(instance, "user-2").hex()
    fake_stripe.account.customers[customer_id].metadata["coord_user"] = user
    instance.change("user-2", stripe_customer_id=customer_id, shared_customer_id=None)
    (found,) = reconcile(instance)
    assert (found.kind, found.is_left) == ("shared", False)
    assert aside(instance) == [None, None]
    assert instance.row("user-2").stripe_customer_id == customer_id
