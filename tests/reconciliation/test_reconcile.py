"""`coord-users reconcile`: what disagrees with Stripe is found, and repaired without deletion."""

from collections.abc import Callable

import pytest
from faults.call_faults import FAULTS, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import (
    forget_row,
    hash_of,
    kinds,
    leave_open,
    mark_as_version_1,
    reconcile,
    stray,
    stray_of,
    summaries,
)

from app.errors import StripeUnavailable
from app.storage.tables import users


def test_nothing_to_find(instance: Instance, fake_stripe: FakeStripe) -> None:
    instance.save(fake_stripe.account.token())
    assert reconcile(instance) == []


@pytest.mark.parametrize("dry", [True, False])
def test_open_attempt_is_settled(instance: Instance, fake_stripe: FakeStripe, dry: bool) -> None:
    leave_open(instance, fake_stripe)
    before = instance.row()
    found = summaries(reconcile(instance, dry=dry))
    if dry:
        assert found == [("open_attempt", "would be settled", True)]
        assert instance.row() == before
    else:
        assert found == [("open_attempt", "settled", False)]
        assert instance.audit().is_clean, instance.audit()


def test_open_attempt_that_is_refused_is_settled_too(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    fake_stripe.fail(FAULTS["reset before execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(fake_stripe.account.token("expired_card"))
    fake_stripe.heal()
    instance.let_leases_expire()
    assert summaries(reconcile(instance)) == [("open_attempt", "expired_card", False)]


def test_open_attempt_whose_outcome_stays_unknown_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    leave_open(instance, fake_stripe)
    fake_stripe.fail(FAULTS["503"], times=None, method="POST")
    assert summaries(reconcile(instance)) == [("open_attempt", "stripe_unavailable", True)]


def test_attempt_in_another_process_is_left_to_it(
    open_instance: Callable[..., Instance], fake_stripe: FakeStripe
) -> None:
    """It was open when it was found, and is taken over just before."""
    instance, other = open_instance(), open_instance()
    leave_open(instance, fake_stripe)
    instance.crashes.pauses["take_over.at"] = other.complete
    assert summaries(reconcile(instance)) == [("open_attempt", "overtaken", False)]
    assert instance.audit().is_clean, instance.audit()


def test_attempt_whose_parameters_stripe_refuses_is_settled(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """The attempt is closed, so it is not left; what it did before is adopted."""
    leave_open(instance, fake_stripe)
    fake_stripe.fail(
        Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata")), times=None
    )
    assert summaries(reconcile(instance)) == [
        ("open_attempt", "internal", False),
        ("adopted", "is its user's now", False),
    ]
    assert instance.row().attempt_id is None


@pytest.mark.parametrize("dry", [True, False])
def test_customer_of_a_forgotten_user_is_adopted(
    instance: Instance, fake_stripe: FakeStripe, dry: bool
) -> None:
    """The row is found by the user's hash, before its subject is known."""
    customer_id = instance.save(fake_stripe.account.token())
    forget_row(instance)
    found = reconcile(instance, dry=dry)
    assert kinds(found) == ["adopted"]
    assert customer_id in found[0].what
    assert found[0].is_left is dry
    with instance.database.reading() as connection:
        rows = connection.execute(users.select()).all()
    if dry:
        assert rows == []
        return
    (row,) = rows
    assert (row.stripe_customer_id, row.subject, row.issuer_id) == (customer_id, None, None)
    assert row.last_updated == int(row.last_updated) > 0
    assert reconcile(instance) == []
    # The user comes back.
    assert instance.save(fake_stripe.account.token()) == customer_id
    assert instance.row().id == row.id
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.parametrize("dry", [True, False])
def test_customer_of_a_user_without_one_is_adopted(
    instance: Instance, fake_stripe: FakeStripe, dry: bool
) -> None:
    """As after a backup from before the user's first card was accepted."""
    customer_id = instance.save(fake_stripe.account.token())
    instance.change(stripe_customer_id=None, token_hash=None, last_updated=None)
    assert kinds(reconcile(instance, dry=dry)) == ["adopted"]
    assert instance.row().stripe_customer_id == (None if dry else customer_id)
    if not dry:
        assert reconcile(instance) == []


@pytest.mark.parametrize("has_default", [True, False])
def test_kind_of_an_adopted_customers_default(
    instance: Instance, fake_stripe: FakeStripe, has_default: bool
) -> None:
    """A customer whose default is a PaymentMethod gets no source any more."""
    instance.user()
    customer_id = stray_of(instance)
    fake_stripe.account.customers[customer_id].default_pm = "pm_1" if has_default else None
    assert kinds(reconcile(instance)) == ["adopted"]
    with instance.database.reading() as connection:
        row = connection.execute(users.select()).one()
    assert row.stripe_customer_id == customer_id
    assert row.default_kind == ("payment_method" if has_default else None)


def test_of_several_unknown_ones_the_last_acknowledged_is_adopted(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Whatever the order in which they were created."""
    instance.user()
    older = stray_of(instance, age=100, acknowledged=90)
    latest = stray_of(instance, age=5000, acknowledged=10)
    oldest = stray_of(instance, age=3000)
    found = reconcile(instance)
    assert kinds(found) == ["adopted", "duplicate", "duplicate"]
    assert latest in found[0].what
    assert older in found[1].what
    assert oldest in found[2].what
    assert {one.id for one in fake_stripe.account.live()} == {older, latest, oldest}


@pytest.mark.parametrize("dry", [True, False])
def test_unknown_one_takes_the_place_of_a_deleted_one(
    instance: Instance, fake_stripe: FakeStripe, dry: bool
) -> None:
    gone = instance.save(fake_stripe.account.token())
    fake_stripe.account.delete(gone)
    living = stray_of(instance)
    found = reconcile(instance, dry=dry)
    assert found[0].kind == "adopted"
    assert instance.row().stripe_customer_id == (gone if dry else living)
    assert instance.row().token_hash is None or dry
    assert kinds(found) == (["adopted", "dangling"] if dry else ["adopted"])


def test_unknown_one_of_a_user_whose_stored_one_is_unknown_to_the_account_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """A customer that the account does not know is never replaced."""
    instance.save(fake_stripe.account.token(), "user-2")
    stored = instance.save(fake_stripe.account.token())
    del fake_stripe.account.customers[stored]
    stray_of(instance)
    found = reconcile(instance)
    assert kinds(found) == ["duplicate", "dangling"]
    assert "does not know" in found[0].outcome
    assert all(one.is_left for one in found)
    assert instance.row().stripe_customer_id == stored


def test_customer_of_an_attempt_under_way_is_passed_over(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    leave_open(instance, fake_stripe)
    fake_stripe.fail(FAULTS["503"], times=None, method="POST")
    assert kinds(reconcile(instance)) == ["open_attempt"]
    assert instance.row().stripe_customer_id is None


def test_another_customer_of_a_user_with_an_open_attempt_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Whether it is the user's is decided when the attempt has ended."""
    leave_open(instance, fake_stripe)
    fake_stripe.fail(FAULTS["503"], times=None, method="POST")
    other = stray_of(instance)
    found = reconcile(instance)
    assert kinds(found) == ["open_attempt", "open_attempt"]
    assert other in found[1].what
    assert found[1].is_left


def test_customers_of_others_are_not_touched(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Made by hand, or by another installation."""
    instance.save(fake_stripe.account.token())
    by_hand = stray(fake_stripe.account)
    another = stray(fake_stripe.account, "another", hash_of(instance, "user-2").hex())
    before = {one.id: dict(one.metadata) for one in fake_stripe.account.live()}
    assert reconcile(instance, delete=True) == []
    assert {one.id: one.metadata for one in fake_stripe.account.live()} == before
    assert {by_hand, another} < set(before)


@pytest.mark.parametrize("mark", ["1", "2", "", "0", "9" * 18, "9" * 30, "x"])
@pytest.mark.parametrize("delete", [True, False])
def test_mark_of_version_1_alone_proves_nothing(
    instance: Instance, fake_stripe: FakeStripe, mark: str, delete: bool
) -> None:
    """After a restored backup the id of a row is another user's."""
    owned = instance.save(fake_stripe.account.token())
    customer_id = stray(fake_stripe.account, instance.installation, mark)
    found = reconcile(instance, delete=delete)
    assert [(one.kind, one.is_left) for one in found] == [("unowned", True)]
    assert {one.id for one in fake_stripe.account.live()} == {owned, customer_id}


@pytest.mark.parametrize("dry", [True, False])
def test_customers_of_version_1_get_their_users_hash(
    instance: Instance, fake_stripe: FakeStripe, dry: bool
) -> None:
    """From then on they outlive the database."""
    customer_id = instance.save(fake_stripe.account.token())
    mark_as_version_1(instance, customer_id, instance.row().id)
    shown: list[str] = []
    assert reconcile(instance, dry=dry, progress=shown.append) == []
    user = fake_stripe.account.customers[customer_id].metadata["coord_user"]
    if dry:
        assert user == str(instance.row().id)
        assert "1 customers lack their user's hash" in shown
        return
    assert user == hash_of(instance, "user-1").hex()
    forget_row(instance)
    assert kinds(reconcile(instance)) == ["adopted"]


def test_customer_whose_metadata_was_removed_gets_it_back(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    customer_id = instance.save(fake_stripe.account.token())
    fake_stripe.account.customers[customer_id].metadata.clear()
    assert reconcile(instance) == []
    assert fake_stripe.account.customers[customer_id].metadata == {
        "coord_installation": instance.installation,
        "coord_user": hash_of(instance, "user-1").hex(),
    }


def test_row_of_the_version_before_gets_its_hash(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """And so does its customer."""
    customer_id = instance.save(fake_stripe.account.token())
    mark_as_version_1(instance, customer_id, instance.row().id)
    instance.change(user_hash=None)
    assert reconcile(instance, dry=True) == []
    assert instance.row().user_hash is None
    assert reconcile(instance) == []
    assert instance.row().user_hash == hash_of(instance, "user-1")
    marked = fake_stripe.account.customers[customer_id].metadata["coord_user"]
    assert marked == hash_of(instance, "user-1").hex()
