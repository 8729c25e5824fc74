"""Statements of each request, compiled once for the database and executed as they are."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement, Dialect


class Prepared:
    """One statement in the SQL of one database.

    SQLAlchemy caches compiled statements too, but to find one it makes a key of the whole statement
    each time. For the longest one here that takes as long as SQLite takes to execute it.

    Args:
        statement: its parameters have names, and types that the driver takes as they are.
    """

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        self._constants = dict(compiled.params)
        self._positions: list[str] | None = getattr(compiled, "positiontup", None)

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return what the driver takes for these values of its parameters."""
        named = {**self._constants, **values}
        return named if self._positions is None else [*map(named.__getitem__, self._positions)]
