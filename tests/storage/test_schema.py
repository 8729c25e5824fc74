"""Migrations: any number of processes may start them, and later schemas are left alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from support.postgresql import PostgreSql

from app.storage import schema
from app.storage.database import Database

MIGRATE = "import sys; from app.storage.database import Database; Database(sys.argv[1]).migrate()"


def test_revisions_are_those_of_alembic() -> None:
    """They are read from the names of the files, as Alembic takes long to import."""
    config = Config()
    config.set_main_option("script_location", "app.storage:migrations")
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    newest_first = [script.revision for script in scripts.walk_revisions()]
    assert schema.revisions() == newest_first[::-1]
    assert scripts.get_current_head() == schema.revisions()[-1]


@pytest.mark.both_databases
def test_migrating_again_changes_nothing(database: Database) -> None:
    before = database.installation()
    database.migrate()
    # As a process does that waited while another one migrated.
    with database.writing() as connection:
        schema.migrate(connection)
    assert database.installation() == before


@pytest.mark.both_databases
def test_later_schema_is_served_and_left_as_it_is(database: Database) -> None:
    """While a new version is rolled out, the old one serves from the new one's schema."""
    with database.writing() as connection:
        connection.execute(text("update alembic_version set version_num = 'later'"))
    assert database.is_migrated()
    database.migrate()
    with database.reading() as connection:
        assert connection.execute(text("select * from alembic_version")).scalar() == "later"


@pytest.mark.both_databases
def test_earlier_schema_is_not_served(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("update alembic_version set version_num = '0001'"))
    assert not database.is_migrated()


def test_missing_schema_is_not_served(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/users.db")
    assert not database.is_migrated()
    database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_six_processes_migrate_at_once(tmp_path: Path, postgres: PostgreSql, kind: str) -> None:
    """One of them does it; all succeed."""
    url = f"sqlite:///{tmp_path}/users.db"
    if kind == "postgresql":
        postgres.execute("create database test_six")
        url = postgres.url("test_six")
    started = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, url], stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 6, said
    database = Database(url)
    assert database.is_migrated()
    database.close()
    if kind == "postgresql":
        postgres.drop("test_six")


def test_alembic_is_imported_only_to_migrate(tmp_path: Path) -> None:
    """Nor is psycopg, for SQLite: both cost memory and time that a worker has no use for."""
    program = (
        "import sys; from app.storage.database import Database\n"
        f"database = Database('sqlite:///{tmp_path}/users.db')\n"
        "assert not database.is_migrated()\n"
        "print(sorted({'alembic', 'psycopg'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
