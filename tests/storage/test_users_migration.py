"""Migration 0003: users keep their customers, get their hash, and share no customer."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from support.schema import drop_all_tables

from app.customers.user import user_hash
from app.errors import StorageUnavailable
from app.storage.database import Database
from app.storage.schema import upgrade

BEFORE = [
    "INSERT INTO partners (id, name, created_at) VALUES (1, 'Acme', 1.0)",
    "INSERT INTO issuers (id, partner_id, issuer, audience, is_test, created_at)"
    " VALUES (7, 1, 'https://acmé/', 'aud', false, 1.0)",
    "INSERT INTO users (id, issuer_id, subject, stripe_customer_id) VALUES"
    " (101, 7, 'ada', 'cus_1'), (102, 7, 'bob', 'cus_2'), (103, 7, 'eve', 'cus_2'),"
    " (104, 7, 'zoë', NULL)",
    "INSERT INTO refusals (id, user_id, partner_id, refused_at) VALUES (1, 104, 1, 1.0)",
]


@pytest.fixture
def upgraded(database: Database) -> Database:
    """A database that the version before made and filled, migrated by this one."""
    with database.writing() as connection:
        drop_all_tables(connection)
    with database.writing() as connection:
        upgrade(connection, "0002")
        for statement in BEFORE:
            connection.execute(text(statement))
    with database.writing() as connection:
        upgrade(connection, "0003")
    return database


@pytest.mark.both_databases
def test_users_get_the_hash_that_the_code_computes(upgraded: Database) -> None:
    installation = upgraded.installation()
    with upgraded.reading() as connection:
        rows = connection.execute(text("SELECT subject, user_hash FROM users")).all()
    assert {row.subject: bytes(row.user_hash) for row in rows} == {
        subject: user_hash(installation, "Acme", "https://acmé/", subject)
        for subject in ("ada", "bob", "eve", "zoë")
    }


@pytest.mark.both_databases
def test_shared_customer_is_set_aside_and_others_are_kept(upgraded: Database) -> None:
    """No user is charged by a customer that may belong to another; refusals still count."""
    with upgraded.reading() as connection:
        rows = connection.execute(
            text("SELECT stripe_customer_id, shared_customer_id FROM users ORDER BY id")
        ).all()
        refusals = connection.scalar(text("SELECT count(*) FROM refusals WHERE user_id = 104"))
    assert [tuple(row) for row in rows] == [
        ("cus_1", None),
        (None, "cus_2"),
        (None, "cus_2"),
        (None, None),
    ]
    assert refusals == 1


@pytest.mark.both_databases
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET stripe_customer_id = 'cus_1' WHERE id = 104",
        "INSERT INTO users (issuer_id, subject) VALUES (7, 'ada')",
        "INSERT INTO refusals (user_id, partner_id, refused_at) VALUES (99, 1, 1.0)",
    ],
)
def test_database_itself_holds_the_rules(upgraded: Database, statement: str) -> None:
    """One customer in one row, one row for a user, no refusal without its user."""
    with pytest.raises(StorageUnavailable) as refused, upgraded.writing() as connection:
        connection.execute(text(statement))
    assert isinstance(refused.value.__cause__, IntegrityError)


@pytest.mark.both_databases
def test_version_before_saves_on_the_new_schema(upgraded: Database) -> None:
    with upgraded.writing() as connection:
        for _ in range(2):
            connection.execute(
                text(
                    "INSERT INTO users (issuer_id, subject, attempt_id) VALUES (7, 'new', 'a')"
                    " ON CONFLICT (issuer_id, subject) DO UPDATE SET attempt_id = 'b'"
                )
            )
    with upgraded.reading() as connection:
        assert connection.scalar(text("SELECT attempt_id FROM users WHERE subject='new'")) == "b"
