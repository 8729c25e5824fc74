"""Fixtures: databases of both kinds, the double, and a house that uses them."""

import os
import random
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

MEMORY = "/dev/shm"
# How cards are sent and saved: tokens as sources, tokens as PaymentMethods, PaymentMethods, and all
# of them at random.
ROUTES = ("source", "token", "pm", "mixed")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Save cards in each way in the modules that say so, else as sources."""
    if "route" in metafunc.fixturenames:
        is_for_all = metafunc.definition.get_closest_marker("all_routes") is not None
        routes = ROUTES if is_for_all else ROUTES[:1]
        metafunc.parametrize("route", routes, indirect=True, ids=routes if is_for_all else [""])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the further routes on PostgreSQL to `tox -e long`."""
    for item in items:
        callspec: Any = getattr(item, "callspec", None)
        marker = item.get_closest_marker("all_routes")
        if callspec is None or marker is None or callspec.params.get("route", "source") == "source":
            continue
        if callspec.params.get("url") == "postgresql":
            item.add_marker("long")


@pytest.fixture
def route(request: pytest.FixtureRequest) -> str:
    """Return how cards are sent and saved."""
    return str(getattr(request, "param", "source"))


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
def double(route: str) -> Iterator[Double]:
    """Return a running double of Stripe, whose callers send what the route says."""
    with Double() as running:
        if route in ("pm", "mixed"):
            running.account.sends = route  # type: ignore[assignment]
        yield running


@pytest.fixture
def open_house(url: str, double: Double, route: str) -> Iterator[Callable[..., House]]:
    """Give a way to open as many houses on one database as wanted."""
    houses: list[House] = []

    def another(**options: Any) -> House:
        by_pm = route == "token" or (route == "mixed" and random.random() < 0.5)
        options.setdefault("cards", "payment_method" if by_pm else "source")
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
