"""The database: SQLite with full durability, or PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, false, select, update

from app.errors import ConfigurationError, StorageUnavailable
from app.storage import schema, sqlite
from app.storage.deadline_queue import DeadlineQueue
from app.storage.driver import DriverTransaction
from app.storage.durability import Durability, durability_of
from app.storage.errors import is_read_only, storage_errors
from app.storage.tables import installation, users
from app.storage.urls import DatabaseUrl, parse
from app.telemetry import trace

Result = TypeVar("Result")

# Transactions are short, so few connections serve many threads; more only queue in the database.
CONNECTIONS = 10
# Connections beyond these, for what does not wait in the queue: credentials are looked up however
# many requests wait to save a card.
SPARE_CONNECTIONS = 4
# How long to wait for a statement, a lock or a connection, in seconds. A save has 25 s by default,
# of which Stripe may take 20.
TIMEOUT = 5
# How long to wait for a statement of a migration, and for another process that migrates, in
# seconds: to fill a new column of 10^7 users takes minutes.
MIGRATION_TIMEOUT = 3600
# Changes no row, but a database that takes no writes refuses it.
WRITE_NOTHING = update(users).where(false()).values(subject=users.c.subject)


class Database:
    """Short transactions on one engine; each failure is raised as `StorageUnavailable`.

    Attributes:
        address: where the database is, without credentials.

    Raises:
        ConfigurationError: the URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        parsed = parse(url)
        self.address = parsed.address
        self._url = parsed
        self.engine = _engine(parsed, TIMEOUT)
        self._queue = DeadlineQueue(CONNECTIONS)
        # SQLite has one writer at a time and lets the others sleep and look again; this queue wakes
        # the next one at once.
        self._write_queue = DeadlineQueue(1) if parsed.sqlite else self._queue

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for statements that change nothing.

        The transaction ends in a commit as well: after a rollback, psycopg would drop all prepared
        statements of the connection.
        """
        with (
            trace.spent("storage"),
            storage_errors(),
            self._queue,
            self.engine.begin() as connection,
        ):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that is committed at the end of the block."""
        with (
            trace.spent("storage"),
            storage_errors(),
            self._write_queue,
            self.engine.connect() as connection,
        ):
            yield connection
            with storage_errors(in_commit=True):
                connection.commit()

    def transact(self, work: Callable[[DriverTransaction], Result]) -> Result:
        """Run a function in a transaction by the driver, and commit; for what each save does.

        Args:
            work: the transaction is rolled back if it raises anything.
        """
        with trace.spent("storage"), storage_errors(), self._write_queue:
            transaction = DriverTransaction(self.engine)
            is_committed = False
            try:
                result = work(transaction)
                with storage_errors(in_commit=True):
                    transaction.commit()
                is_committed = True
            finally:
                transaction.close(is_committed=is_committed)
        return result

    def installation(self) -> str:
        """Return this installation's id, which the first migration made."""
        with self.reading() as connection:
            return str(connection.execute(select(installation.c.id)).scalar_one())

    def migrate(self) -> None:
        """Bring the schema up to date; a schema of a later version stays as it is.

        Any number of processes may do so at once.

        Raises:
            StorageUnavailable: the database cannot be reached, or a statement failed.
        """
        if self.is_migrated():
            return
        engine = _engine(self._url, MIGRATION_TIMEOUT)
        try:
            with storage_errors(), engine.begin() as connection:
                schema.migrate(connection)
        finally:
            engine.dispose()

    def is_migrated(self) -> bool:
        """Check whether the schema is this version's or a later one's."""
        with self.reading() as connection:
            return schema.is_migrated(connection)

    def takes_writes(self) -> bool:
        """Check whether a save could be stored now. The schema must be there.

        Raises:
            StorageUnavailable: the database cannot be reached.
        """
        try:
            with self.writing() as connection:
                connection.execute(WRITE_NOTHING)
        except StorageUnavailable as error:
            if is_read_only(error):
                return False
            raise
        return True

    def durability(self) -> Durability:
        """Find out which crashes an acknowledged save survives."""
        with self.reading() as connection:
            return durability_of(connection)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_migrated(url: str) -> Database:
    """Open a database that has this version's schema.

    Raises:
        ConfigurationError: it cannot be reached, or its schema is not this version's.
    """
    with ExitStack() as cleanup:
        database = Database(url)
        cleanup.callback(database.close)
        try:
            if not database.is_migrated():
                raise ConfigurationError("The database is not migrated: run `coord-users migrate`")
        except StorageUnavailable as error:
            raise ConfigurationError(f"The database cannot be used: {error.inner}") from None
        cleanup.pop_all()
    return database


def _engine(url: DatabaseUrl, timeout: float) -> Engine:
    options: dict[str, Any] = {
        # An error's text with the statement's parameters would carry them into the log.
        "hide_parameters": True,
        "pool_size": CONNECTIONS + SPARE_CONNECTIONS,
        "max_overflow": 0,
        "pool_timeout": TIMEOUT,
        "pool_use_lifo": True,
        # Each use ends in a commit or a rollback already.
        "pool_reset_on_return": None,
    }
    if url.sqlite:
        return sqlite.make_engine(url.sqlite, timeout, options)
    # psycopg takes 9 MB and 130 ms of CPU time, for nothing where SQLite is used.
    from app.storage import postgresql

    return postgresql.make_engine(url.parameters, timeout, options)
