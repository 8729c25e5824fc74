"""The way to the database: SQLite with full durability, or PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.errors import StorageUnavailable
from app.storage.deadline_queue import Turns
from app.storage.tables import installation
from app.telemetry import trace

# Transactions are short, so few connections serve many threads; more only queue in the database.
CONNECTIONS = 10
# For those who need no turn: credentials are looked up, however many wait to save a card.
SPARE_CONNECTIONS = 4
# How long a thread waits for SQLite's write lock or for a statement, in seconds.
PATIENCE = 5
ACTIVE = psycopg.pq.TransactionStatus.ACTIVE


class Database:
    """Short transactions on one engine; whatever fails in them is `StorageUnavailable`.

    Args:
        url: SQLAlchemy URL; `postgresql://` is taken to mean psycopg 3.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._turns = Turns(CONNECTIONS)
        # SQLite lets other writers wait by sleeping; this wakes them at once.
        self._turns_to_write = Turns(1) if self.engine.dialect.name == "sqlite" else self._turns

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection for statements that change nothing."""
        with (
            trace.spent("storage"),
            _told_as_unavailable(),
            self._turns,
            self.engine.connect() as connection,
        ):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction, committed on the way out."""
        with (
            trace.spent("storage"),
            _told_as_unavailable(),
            self._turns_to_write,
            self.engine.begin() as connection,
        ):
            yield connection

    def installation(self) -> str:
        """Tell this installation's id, made once by the first migration."""
        with self.reading() as connection:
            return str(connection.execute(select(installation.c.id)).scalar_one())

    def migrate(self) -> None:
        """Bring the schema up to date; one that a later version has brought further stays so.

        Raises:
            StorageUnavailable: the database cannot be reached or refuses.
        """
        if self.is_migrated():
            return
        with self.writing() as connection:
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def is_migrated(self) -> bool:
        """Tell whether the schema is as this version needs it, or as a later one does.

        The database is migrated before the service is rolled out, so for a while the old version
        runs on the new schema: migrations are written so that it can.
        """
        with self.reading() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        scripts = ScriptDirectory.from_config(_alembic())
        older = {script.revision for script in scripts.walk_revisions()}
        older.discard(str(scripts.get_current_head()))
        return current is not None and current not in older

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is given up where the server takes statements and answers nothing."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server a little longer than its own time-outs take, which word it better."""
        try:
            return super().wait(gen, interval, timeout or PATIENCE + 1)
        except psycopg.OperationalError:
            if not self.closed and self.info.transaction_status == ACTIVE:
                # What it still may say belongs to a statement that nobody waits for any more.
                self.close()
            raise


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The first line says what is wrong; further ones may show what a row holds.
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise StorageUnavailable(inner=f"{type(error).__name__}: {reason}") from error


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    options: dict[str, Any] = {
        # Parameters of a statement in an error's text would carry them into the log.
        "hide_parameters": True,
        "pool_size": CONNECTIONS + SPARE_CONNECTIONS,
        "max_overflow": 0,
        "pool_timeout": PATIENCE,
        "pool_use_lifo": True,
        # Each use ends in a commit or a rollback already.
        "pool_reset_on_return": None,
    }
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": PATIENCE}, **options)
        event.listen(engine, "connect", _make_durable)
        return engine
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": PATIENCE,
            "options": f"-c statement_timeout={PATIENCE}s -c lock_timeout={PATIENCE}s",
        },
        **options,
    )
    event.listen(engine, "do_connect", _connect)
    return engine


def _connect(_dialect: object, _record: object, args: Any, params: Any) -> BoundedConnection:
    return BoundedConnection.connect(*args, **params)


def _make_durable(connection: Any, _record: object) -> None:
    """Demand of SQLite that a commit is on the disk (https://sqlite.org/pragma.html)."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", "app.storage:migrations")
    config.set_main_option("path_separator", "os")
    return config
