"""The database: what the migrations make, what survives, and how failures are reported."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, select, text
from support.postgresql import NEWER, PostgreSql

from app.errors import ConfigurationError, StorageUnavailable
from app.storage.database import Database
from app.storage.durability import Durability
from app.storage.tables import leases, metadata

WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep'"
CANCEL_WAITING = WAITING.replace("pid", "pg_cancel_backend(pid)")
ROW = {"name": "n", "holder": "h", "until": 0.0}


@pytest.mark.both_databases
def test_migrations_make_what_the_code_expects(database: Database) -> None:
    """Table by table, column by column, index by index."""
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert database.is_migrated()


@pytest.mark.both_databases
def test_failed_transaction_leaves_nothing(database: Database) -> None:
    """What was written before the failure is gone, and the next transaction works."""
    with pytest.raises(StorageUnavailable) as raised, database.writing() as connection:
        connection.execute(insert(leases), [ROW, ROW])
    assert not raised.value.is_commit_unknown
    with database.writing() as connection:
        connection.execute(insert(leases).values(ROW))
    with database.reading() as connection:
        names = connection.scalars(select(leases.c.name)).all()
    assert sorted(names) == ["completer", "n"]


@pytest.mark.both_databases
def test_error_shows_no_values(database: Database) -> None:
    """An error's text goes to the log, and a row may hold what the log must not."""
    with pytest.raises(StorageUnavailable) as raised, database.writing() as connection:
        connection.execute(text("insert into leases (name) values (:name)"), {"name": "secret"})
    assert "secret" not in str(raised.value.inner)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql://127.0.0.1:9/none"])
def test_database_that_is_not_there(url: str) -> None:
    database = Database(url)
    with pytest.raises(StorageUnavailable), database.reading():
        pass
    with pytest.raises(StorageUnavailable):
        database.migrate()
    with pytest.raises(StorageUnavailable):
        database.takes_writes()
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


# SQLite.


def test_sqlite_is_durable(database: Database) -> None:
    """A commit is on the disk before it is acknowledged; deleted rows are overwritten."""
    with database.reading() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
    }
    assert database.durability().commits == "local"


def test_sqlite_that_takes_no_writes(database: Database) -> None:
    assert database.takes_writes()
    path = database.engine.url.database
    read_only = Database(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert read_only.is_migrated()
    assert not read_only.takes_writes()
    read_only.close()


# PostgreSQL.


@pytest.fixture
def postgresql(postgres: PostgreSql, database_url: str) -> Iterator[Database]:
    """A database on PostgreSQL that waits a second for statements and locks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.storage.database.TIMEOUT", 1)
        opened = Database(postgres.create("test_postgresql"))
    yield opened
    opened.close()
    postgres.drop("test_postgresql")


def test_statement_and_lock_end_in_time(postgresql: Database) -> None:
    with pytest.raises(StorageUnavailable, match="statement timeout"), postgresql.reading() as one:
        one.execute(text("select pg_sleep(60)"))
    with postgresql.writing() as holder:
        holder.execute(text("lock table users"))
        with pytest.raises(StorageUnavailable, match="timeout"), postgresql.writing() as waiter:
            waiter.execute(text("lock table users"))


def test_bounds_end_with_the_transaction(postgresql: Database) -> None:
    """Another user of a pooled server connection does not get them."""
    with postgresql.reading() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        inside = connection.execute(text("show statement_timeout")).scalar_one()
    after = driver.execute("show statement_timeout").fetchone()
    assert (inside, after) == ("1s", ("0",))


def test_options_of_the_url_are_kept(postgres: PostgreSql) -> None:
    """Ours stand beside them."""
    url = postgres.create("test_options")
    database = Database(f"{url}&options=-c%20statement_timeout%3D42s%20-c%20work_mem%3D5MB")
    with database.reading() as connection:
        assert connection.execute(text("show work_mem")).scalar_one() == "5MB"
        assert connection.execute(text("show statement_timeout")).scalar_one() == "5s"
    database.close()
    postgres.drop("test_options")


def test_postgresql_without_unicode_gets_one_line(postgres: PostgreSql) -> None:
    postgres.execute(
        "create database ascii encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0"
    )
    database = Database(postgres.url("ascii"))
    with pytest.raises(ConfigurationError, match="SQL_ASCII") as raised:
        database.migrate()
    assert "\n" not in str(raised.value)
    database.close()
    postgres.drop("ascii")


def test_sessions_that_take_no_writes_are_replaced(postgres: PostgreSql) -> None:
    """The pool was filled while the node was read-only; the first failure empties it."""
    url = postgres.create("test_read_only")
    postgres.execute("alter database test_read_only set default_transaction_read_only = on")
    database = Database(url)
    assert database.is_migrated()
    assert not database.takes_writes()
    with database.reading(), database.reading(), database.reading():
        pass
    postgres.execute("alter database test_read_only reset default_transaction_read_only")
    with pytest.raises(StorageUnavailable), database.writing() as connection:
        connection.execute(insert(leases).values(ROW))
    for _ in range(3):
        with database.writing() as connection:
            connection.execute(insert(leases).values({**ROW, "name": f"n{_}"}))
    assert database.takes_writes()
    database.close()
    postgres.drop("test_read_only")


def test_standby(postgres: PostgreSql) -> None:
    """It takes no writes; with several hosts in the URL the leader is found, wherever it stands."""
    url = postgres.create("test_standby")
    leader = postgres.socket_folder
    with postgres.standby() as folder:
        standby = Database(f"postgresql://postgres@/test_standby?host={folder}")
        assert standby.is_migrated()
        assert not standby.takes_writes()
        standby.close()
        both = Database(f"postgresql://postgres@/test_standby?host={folder},{leader}")
        assert both.takes_writes()
        both.close()
        # Else the hosts are tried in random order.
        in_order = "target_session_attrs=any&load_balance_hosts=disable"
        first = Database(f"postgresql://postgres@/test_standby?host={folder},{leader}&{in_order}")
        assert not first.takes_writes()
        first.close()
        assert durability(url).commits == "volatile"
        with postgres.setting("fsync", "on"):
            assert durability(url).commits == "asynchronous"
            with postgres.setting("synchronous_standby_names", "*"):
                assert durability(url) == ("synchronous", "")
    with postgres.setting("fsync", "on"):
        assert durability(url).commits == "local"
    postgres.drop("test_standby")


def durability(url: str) -> Durability:
    database = Database(url)
    try:
        return database.durability()
    finally:
        database.close()


def test_newest_postgresql() -> None:
    """With POSTGRESQL_VERSION=18 all tests run on it; here it is seen to work at all."""
    server = PostgreSql(NEWER)
    try:
        database = Database(server.create("newest"))
        assert database.is_migrated()
        assert database.takes_writes()
        assert database.durability().commits == "volatile"
        database.close()
    finally:
        server.stop()


def test_commit_that_did_not_reach_its_standby_is_uncertain(
    postgres: PostgreSql, postgresql: Database
) -> None:
    """PostgreSQL reports it as done, with a warning; a failover would lose it."""

    def write(name: str) -> None:
        with postgresql.writing() as connection:
            connection.execute(insert(leases).values({**ROW, "name": name}))

    with postgres.setting("synchronous_standby_names", "away"), ThreadPoolExecutor(1) as threads:
        cancelled = threads.submit(write, "cancelled")
        until = time.monotonic() + 30
        while not postgres.execute(CANCEL_WAITING):
            assert time.monotonic() < until
        with pytest.raises(StorageUnavailable, match="uncertain commit") as raised:
            cancelled.result(30)
        assert raised.value.is_commit_unknown
        with pytest.raises(StorageUnavailable, match="timeout") as raised:
            write("abandoned")
        assert raised.value.is_commit_unknown
        # The process that waited for the standby does not wait on.
        while postgres.execute(WAITING):
            assert time.monotonic() < until
    write("certain")
    with postgresql.reading() as connection:
        names = connection.scalars(select(leases.c.name)).all()
    assert sorted(names) == ["abandoned", "cancelled", "certain", "completer"]
