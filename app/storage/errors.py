"""Errors of the database driver and of SQLAlchemy, raised as one error of the service."""

import sqlite3
from contextlib import AbstractContextManager

from sqlalchemy.exc import SQLAlchemyError

from app.errors import StorageUnavailable

# read_only_sql_transaction: the node is a standby, or was made read-only
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
READ_ONLY = "25006"


class storage_errors(AbstractContextManager[None]):  # noqa: N801 - reads as what it does
    """Raise `StorageUnavailable` for an error of the database inside the block.

    Args:
        in_commit: whether the block commits, so that after most errors the outcome is unknown.
    """

    def __init__(self, *, in_commit: bool = False) -> None:
        self._in_commit = in_commit

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Raise the error of the service for one of SQLAlchemy."""
        if not isinstance(error, SQLAlchemyError):
            return
        # The first line names the problem; further lines may show what a row holds.
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        unavailable = StorageUnavailable(inner=f"{type(error).__name__}: {reason}")
        unavailable.is_commit_unknown = self._in_commit and not _is_rolled_back(error)
        raise unavailable from error


def _is_rolled_back(error: SQLAlchemyError) -> bool:
    """Check whether a failed commit certainly changed nothing: SQLite or PostgreSQL said so.

    PostgreSQL's class 57 is said at its end, whatever became of the commit.
    """
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None)
    return isinstance(cause, sqlite3.Error) or (state is not None and not state.startswith("57"))


def is_read_only(error: StorageUnavailable) -> bool:
    """Check whether a statement failed because the database takes no writes."""
    cause = getattr(error.__cause__, "orig", None)
    # The lowest byte is the kind of error (https://sqlite.org/rescode.html).
    kind = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return kind == sqlite3.SQLITE_READONLY or getattr(cause, "sqlstate", None) == READ_ONLY
