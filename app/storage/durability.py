"""Which crashes an acknowledged commit survives, by the settings of the database."""

from typing import NamedTuple

from sqlalchemy import Connection, text

SETTINGS = text(
    "select current_setting('fsync') as fsync,"
    " current_setting('synchronous_commit') as commit,"
    " current_setting('synchronous_standby_names') as names,"
    " (select count(*) from pg_stat_replication) as standbys"
)


class Durability(NamedTuple):
    """How durable a commit is.

    Attributes:
        commits: `synchronous`, on a standby's disk too; `asynchronous`, on a standby's disk later;
            `local`, on one disk as there is no standby; `volatile`, on the disk later.
        risk: a sentence on what may be lost, for operators; empty if a failover loses nothing.
    """

    commits: str
    risk: str = ""


LOCAL = Durability("local", "There is no standby: what is not in a backup is lost with the disk.")
SYNCHRONOUS = Durability("synchronous")
ASYNCHRONOUS = Durability(
    "asynchronous",
    "A failover loses the last saves: their callers have got an id that the new leader does not "
    "know until `coord-users reconcile` has run. To lose none, set synchronous_standby_names (with "
    "Patroni, synchronous_mode) and leave synchronous_commit on.",
)
VOLATILE = Durability(
    "volatile",
    "A crash loses the last saves, though their callers have got an id: set fsync and "
    "synchronous_commit to on.",
)


def durability_of(connection: Connection) -> Durability:
    """Read the settings that a commit on this connection has."""
    if connection.dialect.name == "sqlite":
        return LOCAL
    settings = connection.execute(SETTINGS).one()
    if "off" in (settings.fsync, settings.commit):
        return VOLATILE
    if settings.names and settings.commit != "local":
        return SYNCHRONOUS
    return ASYNCHRONOUS if settings.standbys else LOCAL
