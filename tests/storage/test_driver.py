"""Transactions by the driver: what they do, and how they fail, is what SQLAlchemy's own do."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import bindparam, event, insert, select, update
from sqlalchemy.exc import IntegrityError
from support.postgresql import PostgreSql

from app.errors import StorageUnavailable
from app.storage.database import Database
from app.storage.driver import DriverTransaction
from app.storage.prepared import Prepared
from app.storage.tables import leases, now, partners

ADD = (
    insert(partners)
    .values(name=bindparam("p_name"), created_at=now())
    .returning(partners.c.id, partners.c.name)
)
RENAME = (
    update(partners)
    .where(partners.c.name == bindparam("p_name"))
    .values(name=bindparam("p_to", type_=partners.c.name.type))
)
LEASE = insert(leases).values(name=bindparam("p_name"), holder="h", until=0.0)


def add(database: Database, name: str) -> object:
    prepared = Prepared(ADD, database.engine.dialect)
    row = database.transact(lambda transaction: transaction.row(prepared, {"p_name": name}))
    assert row is not None
    return row[1]


def rename(database: Database, name: str, to: str) -> int:
    prepared = Prepared(RENAME, database.engine.dialect)
    values = {"p_name": name, "p_to": to}
    return database.transact(lambda transaction: transaction.changed(prepared, values))


def names(database: Database) -> list[str]:
    with database.reading() as connection:
        query = select(partners.c.name).order_by(partners.c.name)
        return list(connection.execute(query).scalars())


@pytest.mark.both_databases
def test_statements_are_executed_with_the_values_given(database: Database) -> None:
    assert [add(database, name) for name in ("a", "b")] == ["a", "b"]
    assert (rename(database, "b", "c"), rename(database, "b", "c")) == (1, 0)
    assert names(database) == ["a", "c"]
    nothing = Prepared(select(partners.c.id).where(partners.c.id < 0), database.engine.dialect)
    assert database.transact(lambda transaction: transaction.row(nothing, {})) is None


@pytest.mark.both_databases
def test_failure_has_the_error_that_sqlalchemy_raises(database: Database) -> None:
    """With its cause, and with no value of the statement; nothing is left of the transaction."""
    prepared = Prepared(ADD, database.engine.dialect)

    def twice(transaction: DriverTransaction) -> None:
        for _ in range(2):
            transaction.row(prepared, {"p_name": "secret"})

    with pytest.raises(StorageUnavailable) as raised:
        database.transact(twice)
    assert isinstance(raised.value.__cause__, IntegrityError)
    assert raised.value.inner is not None
    assert "secret" not in raised.value.inner
    assert not raised.value.is_commit_unknown
    assert names(database) == []
    assert add(database, "secret") == "secret"


@pytest.mark.both_databases
def test_what_interrupts_a_transaction_undoes_it(database: Database) -> None:
    prepared = Prepared(ADD, database.engine.dialect)

    def interrupted(transaction: DriverTransaction) -> None:
        transaction.row(prepared, {"p_name": "a"})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.transact(interrupted)
    assert names(database) == []


@pytest.mark.parametrize("is_of_the_driver", [True, False])
def test_rollback_that_fails(
    database: Database, monkeypatch: pytest.MonkeyPatch, is_of_the_driver: bool
) -> None:
    """Its connection is closed; of the driver's errors, the first one is raised."""
    closed = []
    event.listen(database.engine, "close", lambda *_: closed.append(1))
    transaction = DriverTransaction(database.engine)
    driver = database.engine.dialect.loaded_dbapi

    def rollback(_connection: object) -> None:
        raise driver.Error("rollback") if is_of_the_driver else KeyboardInterrupt

    monkeypatch.setattr(database.engine.dialect, "do_rollback", rollback)
    with contextlib.nullcontext() if is_of_the_driver else pytest.raises(KeyboardInterrupt):
        transaction.close(is_committed=False)
    assert closed == [1]
    monkeypatch.undo()
    assert add(database, "a") == "a"


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql://127.0.0.1:9/none"])
def test_database_that_is_not_there(url: str) -> None:
    database = Database(url)
    with pytest.raises(StorageUnavailable):
        add(database, "a")
    database.close()


# PostgreSQL.


@pytest.fixture
def postgresql(postgres: PostgreSql) -> Iterator[Database]:
    database = Database(postgres.create("test_driver"))
    yield database
    database.close()
    postgres.drop("test_driver")


def test_lost_connections_are_discarded(postgres: PostgreSql, postgresql: Database) -> None:
    """All that are as old: one failure, and not one for each connection of the pool."""

    with postgresql.reading(), postgresql.reading():
        pass
    with pytest.raises(StorageUnavailable):
        postgresql.transact(lambda transaction: lose(postgres, transaction, postgresql))
    assert add(postgresql, "b") == "b"
    assert names(postgresql) == ["b"]


def lose(postgres: PostgreSql, transaction: DriverTransaction, database: Database) -> object:
    postgres.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'test_driver'"
    )
    return transaction.row(Prepared(ADD, database.engine.dialect), {"p_name": "a"})


def test_begin_that_fails(postgresql: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection goes back to the pool, which is not used up by failures."""

    def begin(_connection: object) -> None:
        raise postgresql.engine.dialect.loaded_dbapi.OperationalError("begin")

    monkeypatch.setattr(postgresql.engine.dialect, "do_begin", begin)
    for _ in range(20):
        with pytest.raises(StorageUnavailable, match="begin"):
            add(postgresql, "a")
    monkeypatch.undo()
    assert add(postgresql, "a") == "a"


@pytest.mark.parametrize("is_of_the_driver", [True, False])
def test_begin_that_fails_halfway(
    postgresql: Database, monkeypatch: pytest.MonkeyPatch, is_of_the_driver: bool
) -> None:
    """The pool gets the connection back without a transaction, or all later ones would fail."""
    begin, lent = postgresql.engine.dialect.do_begin, []

    def begin_and_fail(connection: Any) -> None:
        begin(connection)
        lent.append(connection.dbapi_connection)
        if is_of_the_driver:
            connection.execute("select 1 / 0")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(postgresql.engine.dialect, "do_begin", begin_and_fail)
        with pytest.raises(StorageUnavailable if is_of_the_driver else KeyboardInterrupt):
            add(postgresql, "a")
    assert lent[0].info.transaction_status == TransactionStatus.IDLE
    assert add(postgresql, "a") == "a"


def test_sessions_that_take_no_writes_are_replaced(postgres: PostgreSql) -> None:
    """The pool was filled while the node was read-only; the first failure empties it."""
    url = postgres.create("test_driver_read_only")
    postgres.execute("alter database test_driver_read_only set default_transaction_read_only = on")
    database = Database(url)
    with database.reading(), database.reading(), database.reading():
        pass
    postgres.execute("alter database test_driver_read_only reset default_transaction_read_only")
    prepared = Prepared(LEASE, database.engine.dialect)
    with pytest.raises(StorageUnavailable):
        database.transact(lambda transaction: transaction.changed(prepared, {"p_name": "a"}))
    for name in ("a", "b", "c"):
        values = {"p_name": name}
        assert database.transact(lambda it, values=values: it.changed(prepared, values)) == 1
    database.close()
    postgres.drop("test_driver_read_only")
