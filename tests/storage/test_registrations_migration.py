"""Migration 0002: what was registered and saved before stays, and version 1.0 runs on it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from support.schema import drop_all_tables

from app.errors import StorageUnavailable
from app.storage.database import Database
from app.storage.schema import upgrade

BEFORE = [
    "INSERT INTO partners (id, name, created_at) VALUES (1, 'Acme', 1.0), (2, 'Bike', 2.0)",
    "INSERT INTO issuers (id, partner_id, issuer, audience, is_test, jwks, shared_secret,"
    " created_at) VALUES (7, 1, 'https://acme/', 'aud', true, '{\"keys\": []}', NULL, 1.0),"
    " (9, 2, 'https://bike/', 'aud', false, NULL, 'secret', 2.0)",
    "INSERT INTO users (id, issuer_id, subject) VALUES (1, 7, 'ada'), (2, 9, 'ada')",
]
# As version 1.0 registers an issuer.
ADD_AS_BEFORE = (
    "INSERT INTO issuers (id, issuer, partner_id, created_at, audience, is_test, jwks_url, jwks,"
    " shared_secret) VALUES (11, 'https://new/', 1, 3.0, 'aud', false, 'https://new/k', NULL, NULL)"
)
SAME_ISSUER = ADD_AS_BEFORE.replace("11", "12").replace("https://new/'", "https://acme/'")


@pytest.fixture
def upgraded(database: Database) -> Database:
    """A database that version 1.0 made and filled, migrated by this one."""
    with database.writing() as connection:
        drop_all_tables(connection)
    with database.writing() as connection:
        upgrade(connection, "0001")
        for statement in BEFORE:
            connection.execute(text(statement))
    with database.writing() as connection:
        upgrade(connection, "0002")
    return database


@pytest.mark.both_databases
def test_registrations_and_users_are_kept(upgraded: Database) -> None:
    with upgraded.reading() as connection:
        rows = connection.execute(
            text(
                "SELECT users.subject, issuers.issuer, issuers.audience, issuers.more_audiences,"
                " partners.name, partners.disabled_at FROM users"
                " JOIN issuers ON issuers.id = users.issuer_id"
                " JOIN partners ON partners.id = issuers.partner_id ORDER BY users.id"
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        ("ada", "https://acme/", "aud", None, "Acme", None),
        ("ada", "https://bike/", "aud", None, "Bike", None),
    ]


@pytest.mark.both_databases
def test_version_1_0_registers_on_the_new_schema(upgraded: Database) -> None:
    with upgraded.writing() as connection:
        connection.execute(text(ADD_AS_BEFORE))
    with upgraded.reading() as connection:
        count = connection.scalar(text("SELECT count(*) FROM issuers WHERE audience = 'aud'"))
    assert count == 3


@pytest.mark.both_databases
def test_an_issuer_may_be_registered_by_another_partner_and_not_twice_by_one(
    upgraded: Database,
) -> None:
    with pytest.raises(StorageUnavailable) as refused, upgraded.writing() as connection:
        connection.execute(text(SAME_ISSUER))
    assert isinstance(refused.value.__cause__, IntegrityError)
    with upgraded.writing() as connection:
        connection.execute(text(SAME_ISSUER.replace("1, 3.0", "2, 3.0")))


@pytest.mark.both_databases
def test_users_refer_to_registrations_as_before(upgraded: Database) -> None:
    """A database checks it from then on; SQLite rebuilt the table that they refer to."""
    with pytest.raises(StorageUnavailable) as refused, upgraded.writing() as connection:
        connection.execute(text("DELETE FROM issuers WHERE id = 7"))
    assert isinstance(refused.value.__cause__, IntegrityError)
    with upgraded.reading() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
