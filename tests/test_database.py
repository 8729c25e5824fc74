"""The database: what the migrations make, what survives, and what is told when it fails."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select, text

from app import database as database_module
from app import trace
from app.database import Database
from app.errors import StorageUnavailable
from app.tables import leases, metadata


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


def test_writers_take_turns(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose turn does not come is told so, and does not wait for ever."""
    monkeypatch.setattr(database_module, "PATIENCE", 0.1)
    told: list[BaseException] = []

    def write() -> None:
        try:
            with database.writing():
                pass
        except StorageUnavailable as error:
            told.append(error)

    with database.writing():
        other = threading.Thread(target=write)
        other.start()
        other.join(10)
    assert len(told) == 1
    write()
    assert len(told) == 1


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


def test_turn_is_waited_for_as_long_as_the_request_has_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load a request is late rather than refused; near its end it still gets a moment."""
    monkeypatch.setattr(database_module, "LEAST_PATIENCE", 0.01)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with database.writing():
            held.set()
            assert go_on.wait(10)

    def write(budget: float) -> None:
        trace.begin("request", budget, {})
        with database.writing():
            pass

    with ThreadPoolExecutor(3) as threads:
        holding = threads.submit(hold)
        assert held.wait(10)
        patient = threads.submit(write, 30.0)
        with pytest.raises(StorageUnavailable):
            threads.submit(write, 0.0).result(10)
        assert not patient.done()
        go_on.set()
        for each in (holding, patient):
            each.result(10)
