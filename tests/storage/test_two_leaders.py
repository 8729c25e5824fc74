"""A leader that lives on without its standbys, beside the new one, as without a fence."""

import time

import psycopg
import pytest
from sqlalchemy import insert
from support.postgresql import PostgreSql

from app.errors import StorageUnavailable
from app.storage.database import Database
from app.storage.tables import leases

# So many in turn would be unlikely if half of the sessions still found the old leader.
IN_TURN = 8


def test_writes_leave_a_leader_that_hangs(
    postgres: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commits wait for a standby for ever; the sessions that follow find the other leader."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 0.5)
    postgres.create("two_leaders")
    with postgres.standby() as folder:
        promote(folder)
        hosts = f"{postgres.socket_folder},{folder}"
        database = Database(f"postgresql://postgres@/two_leaders?host={hosts}")
        with postgres.setting("synchronous_standby_names", "gone"):
            until, stored = time.monotonic() + 60.0, 0
            while stored < IN_TURN:
                assert time.monotonic() < until
                stored = stored + 1 if stores(database) else 0
        database.close()
    postgres.drop("two_leaders")


def promote(folder: str) -> None:
    with psycopg.connect(host=folder, user="postgres", autocommit=True) as connection:
        connection.execute("select pg_promote()")


def stores(database: Database) -> bool:
    """Check whether a row can be written."""
    row = {"name": str(time.monotonic()), "holder": "h", "until": 0.0}
    try:
        with database.writing() as connection:
            connection.execute(insert(leases).values(row))
    except StorageUnavailable:
        return False
    return True
