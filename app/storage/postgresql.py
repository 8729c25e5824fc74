"""PostgreSQL by psycopg, directly or through a pooler such as PgBouncer.

A pooler in transaction mode hands each transaction to any of its server connections. So nothing may
be set for longer than a transaction, or it reaches other users of the pool, and a statement that
was prepared in one transaction may be missing, or be another one, in the next
(https://www.pgbouncer.org/features.html).
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from app.errors import ConfigurationError
from app.storage.errors import READ_ONLY

ACTIVE = psycopg.pq.TransactionStatus.ACTIVE
# How many seconds longer than the server's own timeouts a client waits: their errors say more.
GRACE = 1.0
# How long to connect to one host may take, in seconds, as libpq wants it. A leader that is cut off
# from the network does not refuse, and the next host is tried only afterwards.
CONNECT_TIMEOUT = "5"
WHO = b"select pg_backend_pid(), current_setting('server_encoding')"
registry.register("postgresql.bounded", __name__, "BoundedDialect")


def make_engine(parameters: Mapping[str, str], timeout: float, options: dict[str, Any]) -> Engine:
    """Make an engine for a PostgreSQL database.

    Args:
        parameters: libpq's, and psycopg's `prepare_threshold`: after how many executions a
            statement is prepared, also if a pooler is in between.
        timeout: seconds for a statement, and for a lock.

    Raises:
        ConfigurationError: a parameter is not one of libpq's.
    """
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, **parameters}
    # Else text of a database that declares no encoding arrives as bytes.
    arguments.setdefault("client_encoding", "UTF8")
    if "," in arguments.get("host", ""):
        arguments.setdefault("target_session_attrs", "read-write")
        # An old leader that no fence has stopped takes writes, and commits none of them, as it has
        # lost its standbys. In the URL's order, each new connection would come back to it.
        arguments.setdefault("load_balance_hosts", "random")
    threshold = arguments.pop("prepare_threshold", None)
    try:
        psycopg.conninfo.make_conninfo(**arguments)
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    if threshold is not None:
        if not threshold.isdecimal():
            raise ConfigurationError("DATABASE_URL: prepare_threshold is not a whole number")
        arguments["prepare_threshold"] = int(threshold)
    return create_engine(
        "postgresql+bounded://",
        pool_pre_ping=True,
        connect_args={**arguments, "autocommit": True, "timeout": timeout},
        **options,
    )


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose statements end in time, and whose commits are certain."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timeout = 0.0
        self._begin = b"BEGIN"
        self._warnings = _Warnings()
        self.add_notice_handler(self._warnings.add)

    def bound(self, timeout: float) -> None:
        """Set the bound of the statements and locks of each transaction from now on.

        Args:
            timeout: in seconds.
        """
        self._timeout = timeout
        milliseconds = int(timeout * 1000)
        # One round trip. The settings end with the transaction, so no other user of a pooled
        # server connection gets them.
        self._begin = (
            f"BEGIN; SET LOCAL statement_timeout = {milliseconds};"
            f" SET LOCAL lock_timeout = {milliseconds}"
        ).encode()

    def begin(self) -> None:
        """Begin a transaction with these bounds; `commit` and `rollback` end it as ever."""
        self.execute(self._begin, prepare=False)

    def commit(self) -> None:
        """Commit.

        Raises:
            psycopg.OperationalError: the transaction is committed here, but the wait for the
                standby was cancelled, for example by `statement_timeout`. PostgreSQL reports that
                as a success with a warning. A failover may lose the transaction, so its outcome is
                unknown. See `SyncRepWaitForLSN` in
                https://github.com/postgres/postgres/blob/master/src/backend/replication/syncrep.c
        """
        self._warnings.clear()
        super().commit()
        if self._warnings:
            raise psycopg.OperationalError(f"uncertain commit: {self._warnings.pop()}")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server; close the connection if it takes a statement and never answers.

        A commit has no timeout of the server's, and may wait for a standby for ever.
        """
        try:
            return super().wait(gen, interval, timeout or self._timeout + GRACE)
        except psycopg.OperationalError:
            if not self.closed and self.info.transaction_status == ACTIVE:
                self._give_up()
            raise

    def _give_up(self) -> None:
        """Close the connection: a late answer would be taken for that of the next statement."""
        with contextlib.suppress(psycopg.Error):
            # Else the server's process waits on, with its locks and its place among the
            # connections that the server allows.
            self.cancel_safe(timeout=GRACE)
        self.close()

    def look_around(self, *, may_prepare: bool) -> None:
        """Check the encoding, and stop preparing statements where a pooler is in between.

        A pooler gives its clients process ids of its own. PgBouncer from 1.21 on can follow
        prepared statements, but neither says so nor does so by default in each version, hence
        `prepare_threshold` in the URL.

        Args:
            may_prepare: whether the operator allowed prepared statements through any pooler.

        Raises:
            ConfigurationError: the database does not store Unicode.
        """
        pid, encoding = self.execute(WHO, prepare=False).fetchone() or (0, "")
        if encoding != "UTF8":
            raise ConfigurationError(
                f"The database's encoding is {encoding}, which cannot hold every user's name: make "
                "one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )
        if pid != self.info.backend_pid and not may_prepare:
            self.prepare_threshold = None


class _Warnings(list[str]):
    """The server's warnings. Their texts are copied, as psycopg frees them after `add`."""

    def add(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self.append(notice.message_primary or "")


class BoundedDialect(PGDialect_psycopg):
    """SQLAlchemy's dialect for psycopg, with `BoundedConnection`."""

    supports_statement_cache = True

    def connect(self, *_: Any, timeout: float, **parameters: Any) -> Any:
        """Connect, and leave no connection open that cannot be used."""
        connection = BoundedConnection.connect(**parameters)
        try:
            connection.bound(timeout)
            connection.look_around(may_prepare="prepare_threshold" in parameters)
        except BaseException:
            connection.close()
            raise
        return connection

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin with the bounds; SQLAlchemy's own leaves it to the driver."""
        dbapi_connection.begin()

    def is_disconnect(self, e: Exception, connection: Any, cursor: Any) -> bool:
        """Discard all connections when one is lost, and when a node takes no writes.

        The node may have been the leader when they were made; new ones find the leader of today.
        """
        is_lost = connection is not None and (connection.closed or connection.broken)
        return is_lost or getattr(e, "sqlstate", None) == READ_ONLY
