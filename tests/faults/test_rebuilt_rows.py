"""Version 1.0 serves a database that was rebuilt from Stripe: its second row becomes the user's."""

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from sqlalchemy import insert, select
from support.reconciling import hide_subjects, reconcile

from app.storage.tables import users


def second_row(instance: Instance, **values: object) -> int:
    """Make the row that version 1.0 makes of a user: it finds none by the subject."""
    user = instance.user()
    row = {"issuer_id": user.issuer_id, "subject": user.subject, **values}
    with instance.database.writing() as connection:
        return int(connection.execute(insert(users).values(row).returning(users.c.id)).scalar_one())


def rows(instance: Instance) -> list[tuple[int, str | None, str | None]]:
    """Return the rows' ids, subjects and customers."""
    query = select(users.c.id, users.c.subject, users.c.stripe_customer_id).order_by(users.c.id)
    with instance.database.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize("by_completer", [True, False], ids=["the completer", "the next card"])
def test_second_row_without_a_customer_gets_the_rebuilt_one(
    instance: Instance, fake_stripe: FakeStripe, by_completer: bool
) -> None:
    """The user keeps the customer, and its kind of default."""
    fake_stripe.account.sends = "pm"
    first = instance.save(fake_stripe.account.token())
    hide_subjects(instance)
    second = second_row(instance)
    if by_completer:
        instance.upkeep.name_rows()
        assert instance.row().default_kind == "payment_method"
    assert instance.save(fake_stripe.account.token()) == first
    assert rows(instance) == [(second, "user-1", first)]
    assert instance.audit().is_clean, instance.audit()


def test_customer_of_the_second_row_was_acknowledged_last(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """It is kept; the rebuilt one is a duplicate, which `reconcile --delete` deletes."""
    first = instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    latest = instance.save(token, "user-2")
    attempt = fake_stripe.account.customers[latest].metadata
    hide_subjects(instance)
    with instance.database.writing() as connection:
        connection.execute(users.delete().where(users.c.stripe_customer_id == latest))
    second = second_row(instance, stripe_customer_id=latest, last_updated=4e9)
    attempt["coord_user"] = str(second)
    instance.upkeep.name_rows()
    assert rows(instance) == [(second, "user-1", latest)]
    assert [(one.kind, one.is_left) for one in reconcile(instance)] == [("duplicate", True)]
    reconcile(instance, delete=True)
    assert [one.id for one in fake_stripe.account.live()] == [latest]
    assert first != latest


def test_other_rows_are_named_beside_one_that_cannot_be(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """A row with the same hash that was not rebuilt is left, whatever made it."""
    instance.save(fake_stripe.account.token(), "user-2")
    kept = instance.row("user-2").user_hash
    instance.save(fake_stripe.account.token(), "user-3")
    instance.change("user-2", user_hash=None)
    instance.change("user-3", user_hash=kept)
    instance.upkeep.name_rows()
    assert instance.row("user-2").user_hash is None
    instance.change("user-3", user_hash=None)
    instance.upkeep.name_rows()
    assert instance.row("user-2").user_hash == kept
    assert instance.row("user-3").user_hash is not None
    assert instance.audit().counts["shared"] == 0
