"""Transactions by the database's driver, for the two statements of each save.

To execute one statement, SQLAlchemy makes a connection, a transaction, a context and a result of
its own: for a save, twice the instructions of SQLite. Its pool, its dialects and its errors stay in
use. The only file that uses a private part of SQLAlchemy.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.storage.prepared import Prepared


class DriverTransaction:
    """One transaction on a connection of an engine's pool.

    Args:
        engine: its pool lends the connection until `close`.

    Raises:
        SQLAlchemyError: here and below, as SQLAlchemy itself raises it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dialect: Any = engine.dialect
        self._errors: type[Exception] = self._dialect.loaded_dbapi.Error
        self._connection: Any = None
        try:
            self._connection = engine.raw_connection()
            self._dialect.do_begin(self._connection)
        except BaseException as error:
            translated = self._translated(error) if isinstance(error, self._errors) else None
            if self._connection is not None:
                # It may have begun all the same: PostgreSQL is sent more than BEGIN.
                self.close(is_committed=False)
            if translated is None:
                raise
            raise translated from error

    def row(self, statement: Prepared, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Execute a statement that returns one row at most."""
        rows, _ = self._execute(statement, values, returns=True)
        return rows[0] if rows else None

    def changed(self, statement: Prepared, values: Mapping[str, Any]) -> int:
        """Execute a statement that returns no rows, and return how many it changed."""
        return self._execute(statement, values, returns=False)[1]

    def commit(self) -> None:
        """Commit."""
        try:
            self._dialect.do_commit(self._connection)
        except self._errors as error:
            raise self._translated(error) from error

    def close(self, *, is_committed: bool) -> None:
        """Return the connection to the pool, after a rollback unless it is committed."""
        try:
            if not is_committed and self._connection.is_valid:
                self._dialect.do_rollback(self._connection)
        except BaseException as error:
            self._connection.invalidate()
            if not isinstance(error, self._errors):
                raise
        finally:
            self._connection.close()

    def _execute(
        self, statement: Prepared, values: Mapping[str, Any], *, returns: bool
    ) -> tuple[list[tuple[Any, ...]], int]:
        try:
            cursor = self._connection.cursor()
            try:
                cursor.execute(statement.sql, statement.parameters(values))
                return cursor.fetchall() if returns else [], cursor.rowcount
            finally:
                cursor.close()
        except self._errors as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        """Return SQLAlchemy's error for one of the driver's, and discard lost connections."""
        lent = self._connection
        is_lost = self._dialect.is_disconnect(error, lent and lent.dbapi_connection, None)
        if is_lost and lent is not None:
            # It and all that are as old, as SQLAlchemy does it.
            self._engine.pool._invalidate(lent, error)
        return DBAPIError.instance(
            None,
            None,
            error,
            self._errors,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=self._dialect,
        )
