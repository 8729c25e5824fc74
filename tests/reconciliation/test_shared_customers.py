"""Customers that two rows held before that was forbidden: set aside by migration 0003."""

from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from support.reconciling import hash_of, kinds, mark_as_version_1, reconcile


def shared(house: House, double: Double) -> str:
    """Let two rows have had one customer, whose metadata of version 1.0 names the second."""
    customer_id = house.save(double.account.token(), "user-1")
    second = house.save(double.account.token(), "user-2")
    double.account.delete(second)
    house.save(double.account.token(), "user-3")
    for subject in ("user-1", "user-2"):
        house.change(
            subject, stripe_customer_id=None, shared_customer_id=customer_id, token_hash=None
        )
    mark_as_version_1(house, customer_id, house.row("user-2").id)
    house.acknowledged.clear()
    return customer_id


def aside(house: House) -> list[Any]:
    return [house.row(f"user-{number}").shared_customer_id for number in (1, 2)]


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("mark", ["row", "hash"])
def test_metadata_decides(house: House, double: Double, dry: bool, mark: str) -> None:
    customer_id = shared(house, double)
    if mark == "hash":
        user = hash_of(house, "user-2").hex()
        double.account.customers[customer_id].metadata["coord_user"] = user
    (found,) = reconcile(house, dry=dry)
    assert found.kind == "shared"
    assert found.is_left is dry
    assert f"given to user {house.row('user-2').id}" in found.outcome
    if dry:
        assert aside(house) == [customer_id] * 2
        return
    assert aside(house) == [None, None]
    assert house.row("user-2").stripe_customer_id == customer_id
    assert house.row("user-1").stripe_customer_id is None
    user = double.account.customers[customer_id].metadata["coord_user"]
    assert user == hash_of(house, "user-2").hex()
    assert reconcile(house) == []
    assert house.save(double.account.token(), "user-2") == customer_id
    assert house.save(double.account.token(), "user-1") != customer_id
    assert house.audit().is_clean, house.audit()


def test_deleted_one_is_nobodys(house: House, double: Double) -> None:
    double.account.delete(shared(house, double))
    (found,) = reconcile(house)
    assert (found.kind, found.is_left) == ("shared", False)
    assert aside(house) == [None, None]


def test_one_that_the_account_does_not_know_is_left(house: House, double: Double) -> None:
    customer_id = shared(house, double)
    del double.account.customers[customer_id]
    (found,) = reconcile(house)
    assert (found.kind, found.is_left) == ("shared", True)
    assert aside(house) == [customer_id] * 2


@pytest.mark.parametrize("user", ["", "99", "f" * 64])
def test_one_whose_metadata_proves_no_row_is_left(house: House, double: Double, user: str) -> None:
    """It is not reported a second time, unless its metadata names a user without a row."""
    customer_id = shared(house, double)
    double.account.customers[customer_id].metadata["coord_user"] = user
    found = reconcile(house, delete=True)
    assert (found[0].kind, found[0].is_left) == ("shared", True)
    assert kinds(found[1:]) == (["adopted"] if len(user) == 64 else ["unowned"])
    assert aside(house) == [customer_id] * 2
    if len(user) == 64:
        assert kinds(reconcile(house)) == ["shared"]
        assert aside(house) == [None, None]


def test_one_of_another_installation_is_left(house: House, double: Double) -> None:
    customer_id = shared(house, double)
    double.account.customers[customer_id].metadata["coord_installation"] = "another"
    assert [(one.kind, one.is_left) for one in reconcile(house)] == [("shared", True)]
    assert aside(house) == [customer_id] * 2


def test_user_who_has_another_one_by_now(house: House, double: Double) -> None:
    """The shared one is that user's duplicate then."""
    customer_id = shared(house, double)
    own = house.save(double.account.token(), "user-2")
    found = reconcile(house)
    assert kinds(found) == ["shared", "duplicate"]
    assert [one.is_left for one in found] == [False, True]
    assert aside(house) == [None, None]
    assert customer_id in found[1].what
    assert kinds(reconcile(house, delete=True)) == ["duplicate"]
    assert own in {one.id for one in double.account.live()}
    assert reconcile(house) == []
    assert house.audit().is_clean, house.audit()


def test_user_with_an_open_attempt_is_left(house: House, double: Double) -> None:
    """And the customer is not reported a second time, as unowned."""
    customer_id = shared(house, double)
    house.change("user-2", attempt_id="busy")
    (found,) = reconcile(house)
    assert (found.kind, found.is_left) == ("shared", True)
    user = hash_of(house, "user-2").hex()
    double.account.customers[customer_id].metadata["coord_user"] = user
    assert kinds(reconcile(house)) == ["shared"]
    house.change("user-2", attempt_id=None)


def test_row_that_changes_meanwhile_is_left(house: House, double: Double) -> None:
    customer_id = shared(house, double)
    set_metadata = house.stripe.set_metadata

    def busy(*args: Any, **options: Any) -> Any:
        house.change("user-2", attempt_id="busy")
        return set_metadata(*args, **options)

    house.stripe.set_metadata = busy  # type: ignore[method-assign]
    (found,) = reconcile(house)
    assert (found.kind, found.is_left) == ("shared", True)
    assert aside(house) == [customer_id] * 2
    house.change("user-2", attempt_id=None)


def test_half_done_decision_is_completed(house: House, double: Double) -> None:
    """After a crash between giving the customer to one row and taking it from the other."""
    customer_id = shared(house, double)
    user = hash_of(house, "user-2").hex()
    double.account.customers[customer_id].metadata["coord_user"] = user
    house.change("user-2", stripe_customer_id=customer_id, shared_customer_id=None)
    (found,) = reconcile(house)
    assert (found.kind, found.is_left) == ("shared", False)
    assert aside(house) == [None, None]
    assert house.row("user-2").stripe_customer_id == customer_id
