"""`coord-users users`: who is listed, and by which indexes, at any size."""

from typing import Any

import pytest
from faults.instance import Instance
from sqlalchemy import insert
from support.plans import crowd, explained, reads_all, sorts
from support.reconciling import hide_subjects

from app.customers import listing
from app.customers.listing import Filter, list_users
from app.customers.user import user_hash
from app.storage.tables import issuers, now, partners, users


def register(instance: Instance, partner: str, issuer: str) -> int:
    """Register an issuer, and return its row."""
    with instance.database.writing() as connection:
        found = connection.scalar(partners.select().where(partners.c.name == partner))
        partner_id = (
            found
            or connection.execute(
                insert(partners).values(name=partner, created_at=now()).returning(partners.c.id)
            ).scalar_one()
        )
        values = {"issuer": issuer, "audience": "coord", "is_test": False, "created_at": now()}
        new = insert(issuers).values(partner_id=partner_id, **values)
        return connection.execute(new.returning(issuers.c.id)).scalar_one()


@pytest.fixture
def registered(instance: Instance) -> Instance:
    """Register two partners with one issuer each in common, and three users of each."""
    names = [("Acme", "i-1"), ("Acme", "i-2"), ("Bolt", "i-1")]
    for partner, issuer in names:
        issuer_id = register(instance, partner, issuer)
        for number in range(3):
            subject = f"user-{number}"
            row = {
                "issuer_id": issuer_id,
                "subject": subject,
                "user_hash": user_hash(instance.installation, partner, issuer, subject),
                "stripe_customer_id": f"cus_{partner}_{issuer}_{number}",
            }
            with instance.database.writing() as connection:
                connection.execute(insert(users).values(row))
    return instance


def listed(instance: Instance, **which: str) -> list[tuple[Any, ...]]:
    found = list_users(instance.database, Filter(**which))
    return [(row.partner, row.issuer, row.subject) for row in found]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_filters(registered: Instance, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each restricts the list, alone and together with others."""
    monkeypatch.setattr(listing, "PAGE", page)
    everyone = listed(registered)
    assert len(everyone) == 9
    assert sorted(set(everyone)) == sorted(everyone)

    def matching(**which: str) -> list[tuple[Any, ...]]:
        names = ("partner", "issuer", "subject")
        wanted = [(names.index(name), value) for name, value in which.items()]
        return [one for one in everyone if all(one[at] == value for at, value in wanted)]

    for which in (
        {"partner": "Acme"},
        {"issuer": "i-1"},
        {"partner": "Bolt", "issuer": "i-1"},
        {"subject": "user-1"},
        {"partner": "Acme", "subject": "user-1"},
        {"issuer": "i-1", "subject": "user-1"},
        {"partner": "Acme", "issuer": "i-2", "subject": "user-2"},
        {"partner": "Nobody"},
        {"partner": "Bolt", "issuer": "i-2", "subject": "user-2"},
    ):
        assert sorted(listed(registered, **which)) == sorted(matching(**which)), which


def test_customer(registered: Instance) -> None:
    """It is one user's at most, whatever else is asked for."""
    customer = "cus_Acme_i-2_1"
    user = [("Acme", "i-2", "user-1")]
    assert listed(registered, customer=customer) == user
    both = {"partner": "Acme", "issuer": "i-2", "subject": "user-1"}
    assert listed(registered, customer=customer, **both) == user
    for name in both:
        assert listed(registered, customer=customer, **{name: "x"}) == []
    assert listed(registered, customer="cus_nobody") == []


def test_rebuilt_rows(registered: Instance) -> None:
    """They are listed, and found by the subject that they do not show."""
    hide_subjects(registered)
    assert listed(registered) == [(None, None, None)] * 9
    which = {"partner": "Acme", "issuer": "i-2", "subject": "user-1"}
    (row,) = list_users(registered.database, Filter(**which))
    assert row.stripe_customer_id == "cus_Acme_i-2_1"
    assert len(listed(registered, subject="user-1")) == 3
    assert listed(registered, partner="Acme") == []
    assert listed(registered, customer="cus_Acme_i-2_1") == [(None, None, None)]


def test_refusal_and_open_attempt(registered: Instance) -> None:
    """With the row's id, by which the log names a user."""
    registered.change("user-1", refusal={"code": "card_declined"}, attempt_started_at=5.0)
    for row in list_users(registered.database, Filter()):
        is_one = row.subject == "user-1"
        assert row.refusal == ({"code": "card_declined"} if is_one else None)
        assert row.attempt_started_at == (5.0 if is_one else None)
        assert row.id > 0


@pytest.fixture
def crowded(instance: Instance) -> Instance:
    """Put so many users in the table that a plan without an index would cost more."""
    crowd(instance.database, (register(instance, "Acme", "i-1"), register(instance, "Bolt", "i-2")))
    return instance


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"partner": "Acme"},
        {"issuer": "i-1"},
        {"subject": "user-77"},
        {"partner": "Acme", "subject": "user-77"},
        {"issuer": "i-1", "subject": "user-77"},
        {"customer": "cus_77"},
        {"customer": "cus_77", "partner": "Acme", "issuer": "i-1", "subject": "user-77"},
    ],
)
def test_each_filter_uses_an_index(crowded: Instance, which: dict[str, str]) -> None:
    """No query reads the whole table, and none sorts it."""
    with explained(crowded.database) as plans:
        next(iter(list_users(crowded.database, Filter(**which))))
    assert plans
    for plan in plans:
        assert not reads_all(plan), plan
        is_one = "subject" in which or "customer" in which
        assert is_one or not sorts(plan), plan
