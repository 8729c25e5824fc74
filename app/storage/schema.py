"""The schema's version, and its migrations by Alembic.

Alembic is imported only to migrate: it takes 11 MB and a quarter of a second of CPU time, and a
serving process has no other use for it.
"""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

# The table in which Alembic keeps the revision of the schema.
VERSION = table("alembic_version", column("version_num"))
# Names our lock among the advisory locks of the database: any number that others do not use.
LOCK = 0x636F6F7264


def is_migrated(connection: Connection) -> bool:
    """Check whether the schema is as this version needs it, or as a later one does.

    The database is migrated before the service is rolled out, so for a while the old version runs
    on the new schema: migrations are written so that it can.
    """
    if not inspect(connection).has_table(VERSION.name):
        return False
    revision = connection.scalar(select(VERSION.c.version_num))
    return revision is not None and revision not in revisions()[:-1]


@cache
def revisions() -> list[str]:
    """List the revisions that this version knows, from the oldest on: the files are numbered."""
    folder = Path(__file__).parent / "migrations" / "versions"
    return sorted(path.name.partition("_")[0] for path in folder.glob("[0-9]*_*.py"))


def migrate(connection: Connection) -> None:
    """Migrate to this version's schema in the connection's transaction, one process at a time."""
    _wait_for_other_migrations(connection)
    if not is_migrated(connection):
        upgrade(connection)


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Apply the migrations up to a revision."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "app.storage:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _wait_for_other_migrations(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        # Takes the write lock. With BEGIN alone the first write would take it, by when what was
        # read may be out of date.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # A migration that waits for a table makes all other users of the table wait behind it.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
