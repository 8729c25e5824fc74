"""Statements on the way of each request: compiled once, sent as they are."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement, Connection, CursorResult, Dialect


class Prepared:
    """One statement in one database's own SQL.

    SQLAlchemy finds what it compiled before by a key that it makes of the whole statement, each
    time; for the longest one here, that takes as long as SQLite takes to execute it.

    Args:
        statement: its parameters have names, and are of types that the driver takes as they are.
        dialect: the database's.
    """

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._constants = dict(compiled.params)
        self._positions: list[str] | None = getattr(compiled, "positiontup", None)

    def run(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute it with these values."""
        named = {**self._constants, **values}
        if self._positions is None:
            return connection.exec_driver_sql(self._sql, named)
        return connection.exec_driver_sql(self._sql, tuple(named[it] for it in self._positions))
