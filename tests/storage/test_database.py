"""The database: what the migrations make, what survives, and what is told when it fails."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select, text

from app.errors import StorageUnavailable
from app.storage.database import Database
from app.storage.tables import leases, metadata


@pytest.mark.both_databases
def test_migrations_make_what_the_code_expects(database: Database) -> None:
    """Table by table, column by column, index by index."""
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert database.is_migrated()


@pytest.mark.both_databases
def test_migrating_again_changes_nothing(database: Database) -> None:
    before = database.installation()
    database.migrate()
    assert database.installation() == before


@pytest.mark.both_databases
def test_failed_transaction_leaves_nothing(database: Database) -> None:
    """What was written before the failure is gone, and the next one works."""
    row = {"name": "n", "holder": "h", "until": 0.0}
    with pytest.raises(StorageUnavailable), database.writing() as connection:
        connection.execute(insert(leases), [row, row])
    with database.writing() as connection:
        connection.execute(insert(leases).values(row))
    with database.reading() as connection:
        names = connection.scalars(select(leases.c.name)).all()
    assert sorted(names) == ["completer", "n"]


@pytest.mark.both_databases
def test_error_tells_no_values(database: Database) -> None:
    """An error's words go to the log, and a row may hold what the log must not."""
    with pytest.raises(StorageUnavailable) as told, database.writing() as connection:
        connection.execute(text("insert into leases (name) values (:name)"), {"name": "secret"})
    assert "secret" not in str(told.value.inner)
    assert "secret" not in str(told.value)


@pytest.mark.both_databases
def test_later_schema_is_served_and_left_as_it_is(database: Database) -> None:
    """While a new version is rolled out, the old one serves from the new one's schema."""
    with database.writing() as connection:
        connection.execute(text("update alembic_version set version_num = 'later'"))
    assert database.is_migrated()
    database.migrate()
    with database.reading() as connection:
        assert connection.execute(text("select * from alembic_version")).scalar() == "later"


def test_schema_that_is_missing_is_not_served(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/users.db")
    assert not database.is_migrated()
    database.close()


def test_sqlite_is_durable(database: Database) -> None:
    """A commit is on the disk before it is told; deleted rows are overwritten."""
    with database.reading() as connection:
        told = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        }
    assert told == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql://127.0.0.1:9/none"])
def test_database_that_is_not_there(url: str) -> None:
    database = Database(url)
    with pytest.raises(StorageUnavailable), database.reading():
        pass
    with pytest.raises(StorageUnavailable):
        database.migrate()
    database.close()


def test_settled_rows_outlive_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/users.db"
    first = Database(url)
    first.migrate()
    installation = first.installation()
    first.close()
    second = Database(url)
    assert second.installation() == installation
    second.close()
