"""SQLite in a file, with commits that survive the loss of power."""

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON")


def make_engine(url: URL, timeout: float, options: dict[str, Any]) -> Engine:
    """Make an engine for an SQLite file.

    Args:
        timeout: seconds to wait for the write lock.
    """
    engine = create_engine(url, connect_args={"timeout": timeout}, **options)
    event.listen(engine, "connect", _make_durable)
    return engine


def _make_durable(connection: Any, _record: object) -> None:
    """Have each commit reach the disk, and overwrite what is deleted.

    See https://sqlite.org/pragma.html.
    """
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()
