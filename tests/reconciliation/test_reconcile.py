"""`coord-users reconcile`: what disagrees with Stripe is found, and repaired without deletion."""

from collections.abc import Callable
from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
from support.reconciling import (
    forget_row,
    hash_of,
    kinds,
    leave_open,
    mark_as_version_1,
    reconcile,
    stray,
    stray_of,
    told,
)

from app.errors import StripeUnavailable
from app.storage.tables import users


def test_nothing_to_find(house: House, double: Double) -> None:
    house.save(double.account.token())
    assert reconcile(house) == []


@pytest.mark.parametrize("dry", [True, False])
def test_open_attempt_is_settled(house: House, double: Double, dry: bool) -> None:
    leave_open(house, double)
    before = house.row()
    found = told(reconcile(house, dry=dry))
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
    house.let_leases_expire()
    assert told(reconcile(house)) == [("open_attempt", "expired_card", False)]


def test_open_attempt_whose_outcome_stays_unknown_is_left(house: House, double: Double) -> None:
    leave_open(house, double)
    double.fail(FAULTS["503"], times=None, method="POST")
    assert told(reconcile(house)) == [("open_attempt", "stripe_unavailable", True)]


def test_attempt_in_another_process_is_left_to_it(
    open_house: Callable[..., House], double: Double
) -> None:
    """It was open when it was found, and is taken over just before."""
    house, other = open_house(), open_house()
    leave_open(house, double)
    house.crashes.pauses["take_over.at"] = other.complete
    assert told(reconcile(house)) == [("open_attempt", "overtaken", False)]
    assert house.audit().is_clean, house.audit()


def test_attempt_whose_parameters_stripe_refuses_is_settled(house: House, double: Double) -> None:
    """The attempt is closed, so it is not left; what it did before is adopted."""
    leave_open(house, double)
    double.fail(
        Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata")), times=None
    )
    assert told(reconcile(house)) == [
        ("open_attempt", "internal", False),
        ("adopted", "is its user's now", False),
    ]
    assert house.row().attempt_id is None


@pytest.mark.parametrize("dry", [True, False])
def test_customer_of_a_forgotten_user_is_adopted(house: House, double: Double, dry: bool) -> None:
    """The row is found by the user's hash, before its subject is known."""
    customer_id = house.save(double.account.token())
    forget_row(house)
    found = reconcile(house, dry=dry)
    assert kinds(found) == ["adopted"]
    assert customer_id in found[0].what
    assert found[0].is_left is dry
    with house.database.reading() as connection:
        rows = connection.execute(users.select()).all()
    if dry:
        assert rows == []
        return
    (row,) = rows
    assert (row.stripe_customer_id, row.subject, row.issuer_id) == (customer_id, None, None)
    assert row.last_updated == int(row.last_updated) > 0
    assert reconcile(house) == []
    # The user comes back.
    assert house.save(double.account.token()) == customer_id
    assert house.row().id == row.id
    assert house.audit().is_clean, house.audit()


@pytest.mark.parametrize("dry", [True, False])
def test_customer_of_a_user_without_one_is_adopted(house: House, double: Double, dry: bool) -> None:
    """As after a backup from before the user's first card was accepted."""
    customer_id = house.save(double.account.token())
    house.change(stripe_customer_id=None, token_hash=None, last_updated=None)
    assert kinds(reconcile(house, dry=dry)) == ["adopted"]
    assert house.row().stripe_customer_id == (None if dry else customer_id)
    if not dry:
        assert reconcile(house) == []


@pytest.mark.parametrize("has_default", [True, False])
def test_kind_of_an_adopted_customers_default(
    house: House, double: Double, has_default: bool
) -> None:
    """A customer whose default is a PaymentMethod gets no source any more."""
    house.user()
    customer_id = stray_of(house)
    double.account.customers[customer_id].default_pm = "pm_1" if has_default else None
    assert kinds(reconcile(house)) == ["adopted"]
    with house.database.reading() as connection:
        row = connection.execute(users.select()).one()
    assert row.stripe_customer_id == customer_id
    assert row.default_kind == ("payment_method" if has_default else None)


def test_of_several_unknown_ones_the_last_acknowledged_is_adopted(
    house: House, double: Double
) -> None:
    """Whatever the order in which they were created."""
    house.user()
    older = stray_of(house, age=100, acknowledged=90)
    latest = stray_of(house, age=5000, acknowledged=10)
    oldest = stray_of(house, age=3000)
    found = reconcile(house)
    assert kinds(found) == ["adopted", "duplicate", "duplicate"]
    assert latest in found[0].what
    assert older in found[1].what
    assert oldest in found[2].what
    assert {one.id for one in double.account.live()} == {older, latest, oldest}


@pytest.mark.parametrize("dry", [True, False])
def test_unknown_one_takes_the_place_of_a_deleted_one(
    house: House, double: Double, dry: bool
) -> None:
    gone = house.save(double.account.token())
    double.account.delete(gone)
    living = stray_of(house)
    found = reconcile(house, dry=dry)
    assert found[0].kind == "adopted"
    assert house.row().stripe_customer_id == (gone if dry else living)
    assert house.row().token_hash is None or dry
    assert kinds(found) == (["adopted", "dangling"] if dry else ["adopted"])


def test_unknown_one_of_a_user_whose_stored_one_is_unknown_to_the_account_is_left(
    house: House, double: Double
) -> None:
    """A customer that the account does not know is never replaced."""
    house.save(double.account.token(), "user-2")
    stored = house.save(double.account.token())
    del double.account.customers[stored]
    stray_of(house)
    found = reconcile(house)
    assert kinds(found) == ["duplicate", "dangling"]
    assert "does not know" in found[0].outcome
    assert all(one.is_left for one in found)
    assert house.row().stripe_customer_id == stored


def test_customer_of_an_attempt_under_way_is_passed_over(house: House, double: Double) -> None:
    leave_open(house, double)
    double.fail(FAULTS["503"], times=None, method="POST")
    assert kinds(reconcile(house)) == ["open_attempt"]
    assert house.row().stripe_customer_id is None


def test_another_customer_of_a_user_with_an_open_attempt_is_left(
    house: House, double: Double
) -> None:
    """Whether it is the user's is decided when the attempt has ended."""
    leave_open(house, double)
    double.fail(FAULTS["503"], times=None, method="POST")
    other = stray_of(house)
    found = reconcile(house)
    assert kinds(found) == ["open_attempt", "open_attempt"]
    assert other in found[1].what
    assert found[1].is_left


def test_customers_of_others_are_not_touched(house: House, double: Double) -> None:
    """Made by hand, or by another installation."""
    house.save(double.account.token())
    by_hand = stray(double.account)
    another = stray(double.account, "another", hash_of(house, "user-2").hex())
    before = {one.id: dict(one.metadata) for one in double.account.live()}
    assert reconcile(house, delete=True) == []
    assert {one.id: one.metadata for one in double.account.live()} == before
    assert {by_hand, another} < set(before)


@pytest.mark.parametrize("mark", ["1", "2", "", "0", "9" * 18, "9" * 30, "x"])
@pytest.mark.parametrize("delete", [True, False])
def test_mark_of_version_1_alone_proves_nothing(
    house: House, double: Double, mark: str, delete: bool
) -> None:
    """After a restored backup the id of a row is another user's."""
    owned = house.save(double.account.token())
    customer_id = stray(double.account, house.installation, mark)
    found = reconcile(house, delete=delete)
    assert [(one.kind, one.is_left) for one in found] == [("unowned", True)]
    assert {one.id for one in double.account.live()} == {owned, customer_id}


@pytest.mark.parametrize("dry", [True, False])
def test_customers_of_version_1_get_their_users_hash(
    house: House, double: Double, dry: bool
) -> None:
    """From then on they outlive the database."""
    customer_id = house.save(double.account.token())
    mark_as_version_1(house, customer_id, house.row().id)
    shown: list[str] = []
    assert reconcile(house, dry=dry, progress=shown.append) == []
    user = double.account.customers[customer_id].metadata["coord_user"]
    if dry:
        assert user == str(house.row().id)
        assert "1 customers lack their user's hash" in shown
        return
    assert user == hash_of(house, "user-1").hex()
    forget_row(house)
    assert kinds(reconcile(house)) == ["adopted"]


def test_customer_whose_metadata_was_removed_gets_it_back(house: House, double: Double) -> None:
    customer_id = house.save(double.account.token())
    double.account.customers[customer_id].metadata.clear()
    assert reconcile(house) == []
    assert double.account.customers[customer_id].metadata == {
        "coord_installation": house.installation,
        "coord_user": hash_of(house, "user-1").hex(),
    }


def test_row_of_the_version_before_gets_its_hash(house: House, double: Double) -> None:
    """And so does its customer."""
    customer_id = house.save(double.account.token())
    mark_as_version_1(house, customer_id, house.row().id)
    house.change(user_hash=None)
    assert reconcile(house, dry=True) == []
    assert house.row().user_hash is None
    assert reconcile(house) == []
    assert house.row().user_hash == hash_of(house, "user-1")
    marked = double.account.customers[customer_id].metadata["coord_user"]
    assert marked == hash_of(house, "user-1").hex()


def test_customer_that_stripe_does_not_let_mark_is_left(house: House, double: Double) -> None:
    """A customer has at most 50 names in its metadata."""
    mark_as_version_1(house, house.save(double.account.token()), house.row().id)
    double.fail(
        Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata")), times=None
    )
    found = reconcile(house)
    assert [(one.kind, one.is_left) for one in found] == [("unmarked", True)]


def test_customer_that_is_deleted_before_it_is_marked(house: House, double: Double) -> None:
    customer_id = house.save(double.account.token())
    mark_as_version_1(house, customer_id, house.row().id)
    set_metadata = house.stripe.set_metadata

    def deleted_before(*args: Any, **options: Any) -> Any:
        double.account.delete(customer_id)
        return set_metadata(*args, **options)

    house.stripe.set_metadata = deleted_before  # type: ignore[method-assign]
    assert reconcile(house) == []
