"""PgBouncer in front of PostgreSQL, with its default settings, in session and transaction mode."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import text
from support.pgbouncer import pgbouncer
from support.postgresql import PostgreSql

from app.errors import StorageUnavailable
from app.storage.database import Database

# So many that each connection prepares its statements, if it prepares any: psycopg does so at the
# fifth execution.
TRANSACTIONS = 200


@pytest.fixture(params=["session", "transaction"])
def url(request: pytest.FixtureRequest, postgres: PostgreSql) -> Iterator[str]:
    """The URL of a migrated database behind PgBouncer.

    In transaction mode few server connections serve many clients, so that each client meets all of
    them. In session mode each client needs one.
    """
    name = f"pooled_{request.param}"
    postgres.create(name)
    pool_size = 3 if request.param == "transaction" else 20
    with pgbouncer(postgres, request.param, pool_size) as start:
        yield start + name
    postgres.drop(name)


@pytest.fixture
def pooled(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database that waits a second for statements and locks."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)
    opened = Database(url)
    yield opened
    opened.close()


def test_database_is_migrated_through_a_pooler(postgres: PostgreSql, url: str) -> None:
    postgres.execute("create database pooled_new")
    database = Database(url.rpartition("/")[0] + "/pooled_new")
    database.migrate()
    assert database.is_migrated()
    assert database.takes_writes()
    assert database.installation()
    database.close()
    postgres.drop("pooled_new")


def test_bounds_hold(pooled: Database) -> None:
    with pytest.raises(StorageUnavailable, match="statement timeout"), pooled.reading() as one:
        one.execute(text("select pg_sleep(60)"))
    with pooled.writing() as holder:
        holder.execute(text("lock table users"))
        with pytest.raises(StorageUnavailable, match="timeout"), pooled.writing() as waiter:
            waiter.execute(text("lock table users"))


def test_settings_reach_no_other_client(pooled: Database, url: str) -> None:
    """They use the same server connections, after our transactions and after our sessions."""
    with pooled.writing() as one, pooled.writing() as other:
        for connection in (one, other):
            assert connection.execute(text("show statement_timeout")).scalar() == "1s"
    assert settings_of_a_stranger(url) == {("0", "0")}
    pooled.close()
    assert settings_of_a_stranger(url) == {("0", "0")}


def settings_of_a_stranger(url: str) -> set[tuple[str, str]]:
    found = set()
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        for _ in range(5):
            both = connection.execute(
                "select current_setting('statement_timeout'), current_setting('lock_timeout')"
            ).fetchone()
            assert both is not None
            found.add(both)
    return found


def test_no_statement_is_missing_or_another_one(pooled: Database) -> None:
    """A prepared one would be, as the pooler hands out another server connection each time."""

    def transaction(number: int) -> int:
        with pooled.writing() as connection:
            # Of different kinds in a different order, so that names of statements would clash.
            found = [
                connection.exec_driver_sql(f"select {kind} * (%s)::bigint", (number,)).scalar()
                for kind in (number % 7 + 1, number % 5 + 1)
            ]
        assert found == [(number % 7 + 1) * number, (number % 5 + 1) * number]
        return len(found)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(transaction, range(TRANSACTIONS))) == 2 * TRANSACTIONS
    assert prepared_statements(pooled) == 0


def test_operator_may_allow_prepared_statements(url: str) -> None:
    """For a pooler that can follow them: PgBouncer from 1.21 on, or any in session mode."""
    if "transaction" in url:
        pytest.skip("PgBouncer before 1.21 cannot")
    database = Database(f"{url}?prepare_threshold=2")
    for _ in range(5):
        with database.reading() as connection:
            connection.execute(text("select 1"))
    assert prepared_statements(database) > 0
    database.close()


def prepared_statements(database: Database) -> int:
    with database.reading() as connection:
        count = connection.execute(text("select count(*) from pg_prepared_statements"))
        return int(count.scalar_one())


def test_statements_are_prepared_without_a_pooler(postgres: PostgreSql) -> None:
    """To plan each statement anew would cost half as much again."""
    database = Database(postgres.create("unpooled"))
    for _ in range(10):
        with database.reading() as connection:
            connection.execute(text("select 1"))
    assert prepared_statements(database) > 0
    database.close()
    postgres.drop("unpooled")
