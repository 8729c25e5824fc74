"""Fixtures: databases of both kinds, the double, and a house that uses them."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.pgproxy import PgProxy
from faults.world import World
from support.postgresql import PostgreSql

from app.storage.database import Database

MEMORY = "/dev/shm"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a fresh, migrated database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def sqlite_url(sqlite_template: Path) -> Iterator[str]:
    """Give the URL of a fresh, migrated SQLite file.

    In memory, where the machine has such files: a process that is killed loses nothing by this,
    only a machine that loses its power would.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        shutil.copy(sqlite_template, f"{folder}/users.db")
        yield f"sqlite:///{folder}/users.db"


@pytest.fixture
def postgresql_url(postgres: PostgreSql) -> Iterator[str]:
    """Give the URL of a fresh, migrated PostgreSQL database."""
    name = f"faults_{secrets.token_hex(6)}"
    yield postgres.create(name)
    postgres.drop(name)


@pytest.fixture
def proxy(postgres: PostgreSql) -> Iterator[PgProxy]:
    """Give a proxy in front of PostgreSQL."""
    running = PgProxy(postgres.socket_path)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody in this process wait long between two calls."""
    monkeypatch.setattr("app.customers.save_card.RETRY_PAUSES", (0.02, 0.05))


@pytest.fixture
def double() -> Iterator[Double]:
    """Give a double of Stripe."""
    with Double() as running:
        yield running


@pytest.fixture
def open_house(url: str, double: Double) -> Iterator[Callable[..., House]]:
    """Give a way to open as many houses on one database as wanted."""
    houses: list[House] = []

    def another(**options: Any) -> House:
        houses.append(House(url, double, **options))
        return houses[-1]

    yield another
    double.heal()
    for house in houses:
        house.__exit__()


@pytest.fixture
def house(open_house: Callable[..., House]) -> House:
    """Give one."""
    return open_house()


@pytest.fixture
def world(url: str, double: Double, tmp_path: Path) -> Iterator[World]:
    """Give what real processes share, on each database."""
    made = World(url, double, tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def on_postgresql(postgresql_url: str, double: Double, tmp_path: Path) -> Iterator[World]:
    """Give the same where there are many machines."""
    made = World(postgresql_url, double, tmp_path)
    yield made
    made.database.close()
