"""Which row holds which customer: guarded statements, and queries by indexes."""

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from sqlalchemy import insert
from support.plans import crowd, explained, reads_all, sorts
from support.reconciling import hash_of

from app.reconciliation.known_account import newest_customers_known
from app.reconciliation.ownership import PAGE, Found, Ownership
from app.storage.tables import users
from app.stripe_account.account import Customer


@pytest.fixture
def ownership(instance: Instance) -> Ownership:
    instance.user()
    return Ownership(instance.database)


def found(instance: Instance, customer_id: str, subject: str = "user-1") -> Found:
    return Found(customer_id, hash_of(instance, subject), None, 5)


def test_rows_are_inserted_once(instance: Instance, ownership: Ownership) -> None:
    """A user who has a row, or a customer that is in one, is left out."""
    ids = ownership.insert([found(instance, "cus_1"), found(instance, "cus_2", "user-2")])
    assert set(ids) == {hash_of(instance, "user-1"), hash_of(instance, "user-2")}
    again = ownership.insert(
        [
            found(instance, "cus_3"),
            found(instance, "cus_1", "user-3"),
            found(instance, "cus_4", "user-4"),
        ]
    )
    assert set(again) == {hash_of(instance, "user-4")}
    held = ownership.by_customer([f"cus_{number}" for number in range(1, 5)])
    assert {name: row.user_hash for name, row in held.items()} == {
        "cus_1": hash_of(instance, "user-1"),
        "cus_2": hash_of(instance, "user-2"),
        "cus_4": hash_of(instance, "user-4"),
    }


def test_row_is_given_a_customer_only_as_it_was_read(
    instance: Instance, fake_stripe: FakeStripe, ownership: Ownership
) -> None:
    """With no open attempt, and with the customer that it had."""
    instance.save(fake_stripe.account.token())
    user = hash_of(instance, "user-1")
    owner = ownership.by_hash([user])[user]
    one, other = found(instance, "cus_1"), found(instance, "cus_2")
    assert not ownership.give(owner._replace(customer_id=None), one)
    assert not ownership.give(owner._replace(customer_id="cus_x"), one)
    assert not ownership.give(owner, found(instance, "cus_1", "user-2"))
    instance.change(attempt_id="busy")
    assert not ownership.give(owner, one)
    instance.change(attempt_id=None, payment_method_id="pm_1", replaced_payment_method_id="pm_0")
    assert ownership.give(owner, one)
    assert not ownership.give(owner, other)
    row = instance.row()
    assert (row.stripe_customer_id, row.last_updated) == ("cus_1", 5)
    assert row.token_hash is row.payment_method_id is row.replaced_payment_method_id is None


def test_customer_of_another_row_is_not_given(
    instance: Instance, fake_stripe: FakeStripe, ownership: Ownership
) -> None:
    """The index forbids it, and the statement fails alone."""
    taken = instance.save(fake_stripe.account.token(), "user-2")
    instance.save(fake_stripe.account.token())
    user = hash_of(instance, "user-1")
    before = instance.row()
    assert not ownership.give(ownership.by_hash([user])[user], found(instance, taken))
    assert instance.row() == before


def test_pages_of_all_rows(instance: Instance, ownership: Ownership) -> None:
    """Each row once, in the order of the ids."""
    rows = [{"user_hash": number.to_bytes(32)} for number in range(PAGE + 5)]
    with instance.database.writing() as connection:
        connection.execute(insert(users), rows)
    pages = list(ownership.pages())
    assert [len(page) for page in pages] == [PAGE, 5]
    ids = [row.id for page in pages for row in page]
    assert ids == sorted(set(ids))


@pytest.fixture
def crowded(instance: Instance) -> Instance:
    issuer = instance.user().issuer_id
    crowd(instance.database, (issuer, issuer))
    return instance


def test_queries_use_indexes(crowded: Instance, ownership: Ownership) -> None:
    """At 10 million rows, no query of `reconcile`, `import` or a start reads them all."""

    def retrieve(customer_id: str) -> Customer:
        return Customer(customer_id)

    with explained(crowded.database) as plans:
        assert len(ownership.by_customer(["cus_50", "cus_60", "cus_70"])) == 3
        ownership.by_hash(hash_of(crowded, f"user-{number}") for number in range(3))
        assert len(ownership.by_id([50, 60, 70])) == 3
        attempts = {"attempt-50", "attempt-60", "attempt-5000"}
        assert ownership.under_way(attempts) == {"attempt-5000"}
        next(ownership.pages())
        newest_customers_known(crowded.database, retrieve)
    assert len(plans) == 6
    *by_index, newest = plans
    for plan in by_index:
        assert not reads_all(plan), plan
    # From the end of the table, up to the fifth customer.
    assert not sorts(newest), newest
    assert not sorts(by_index[-1]), by_index[-1]
