"""Version 1.0 serves a database that was rebuilt from Stripe: its second row becomes the user's."""

import pytest
from faults.double import Double
from faults.house import House
from sqlalchemy import insert, select
from support.reconciling import hide_subjects, reconcile

from app.storage.tables import users


def second_row(house: House, **values: object) -> int:
    """Make the row that version 1.0 makes of a user: it finds none by the subject."""
    user = house.user()
    row = {"issuer_id": user.issuer_id, "subject": user.subject, **values}
    with house.database.writing() as connection:
        return int(connection.execute(insert(users).values(row).returning(users.c.id)).scalar_one())


def rows(house: House) -> list[tuple[int, str | None, str | None]]:
    """Return the rows' ids, subjects and customers."""
    query = select(users.c.id, users.c.subject, users.c.stripe_customer_id).order_by(users.c.id)
    with house.database.reading() as connection:
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize("by_completer", [True, False], ids=["the completer", "the next card"])
def test_second_row_without_a_customer_gets_the_rebuilt_one(
    house: House, double: Double, by_completer: bool
) -> None:
    """The user keeps the customer, and its kind of default."""
    double.account.sends = "pm"
    first = house.save(double.account.token())
    hide_subjects(house)
    second = second_row(house)
    if by_completer:
        house.upkeep.name_rows()
        assert house.row().default_kind == "payment_method"
    assert house.save(double.account.token()) == first
    assert rows(house) == [(second, "user-1", first)]
    assert house.audit().is_clean, house.audit()


def test_customer_of_the_second_row_was_acknowledged_last(house: House, double: Double) -> None:
    """It is kept; the rebuilt one is a duplicate, which `reconcile --delete` deletes."""
    first = house.save(double.account.token())
    token = double.account.token()
    latest = house.save(token, "user-2")
    attempt = double.account.customers[latest].metadata
    hide_subjects(house)
    with house.database.writing() as connection:
        connection.execute(users.delete().where(users.c.stripe_customer_id == latest))
    second = second_row(house, stripe_customer_id=latest, last_updated=4e9)
    attempt["coord_user"] = str(second)
    house.upkeep.name_rows()
    assert rows(house) == [(second, "user-1", latest)]
    assert [(one.kind, one.is_left) for one in reconcile(house)] == [("duplicate", True)]
    reconcile(house, delete=True)
    assert [one.id for one in double.account.live()] == [latest]
    assert first != latest


def test_other_rows_are_named_beside_one_that_cannot_be(house: House, double: Double) -> None:
    """A row with the same hash that was not rebuilt is left, whatever made it."""
    house.save(double.account.token(), "user-2")
    kept = house.row("user-2").user_hash
    house.save(double.account.token(), "user-3")
    house.change("user-2", user_hash=None)
    house.change("user-3", user_hash=kept)
    house.upkeep.name_rows()
    assert house.row("user-2").user_hash is None
    house.change("user-3", user_hash=None)
    house.upkeep.name_rows()
    assert house.row("user-2").user_hash == kept
    assert house.row("user-3").user_hash is not None
    assert house.audit().counts["shared"] == 0
