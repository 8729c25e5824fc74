"""Fixtures: databases of both kinds, the fake Stripe, and an instance of the service on them."""

import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.deployment import Deployment
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.pgproxy import PgProxy
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
    """Return the URL of a fresh, migrated database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def sqlite_url(sqlite_template: Path) -> Iterator[str]:
    """Yield the URL of a fresh, migrated SQLite file.

    In memory, where the machine has such files: a process that is killed loses nothing by this,
    only a machine that loses its power would.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        shutil.copy(sqlite_template, f"{folder}/users.db")
        yield f"sqlite:///{folder}/users.db"


@pytest.fixture
def postgresql_url(postgres: PostgreSql) -> Iterator[str]:
    """Yield the URL of a fresh, migrated PostgreSQL database."""
    name = f"faults_{secrets.token_hex(6)}"
    yield postgres.create(name)
    postgres.drop(name)


@pytest.fixture
def proxy(postgres: PostgreSql) -> Iterator[PgProxy]:
    """Yield a proxy in front of PostgreSQL."""
    running = PgProxy(postgres.socket_path)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between repeated calls."""
    monkeypatch.setattr("app.customers.save_card.RETRY_PAUSES", (0.02, 0.05))


@pytest.fixture
def fake_stripe(route: str) -> Iterator[FakeStripe]:
    """Return a running fake Stripe, whose callers send what the route says."""
    with FakeStripe() as running:
        if route in ("pm", "mixed"):
            running.account.sends = route  # type: ignore[assignment]
        yield running


@pytest.fixture
def open_instance(
    url: str, fake_stripe: FakeStripe, route: str
) -> Iterator[Callable[..., Instance]]:
    """Yield a way to open as many instances on one database as wanted."""
    instances: list[Instance] = []

    def another(**options: Any) -> Instance:
        by_pm = route == "token" or (route == "mixed" and random.random() < 0.5)
        options.setdefault("cards", "payment_method" if by_pm else "source")
        instances.append(Instance(url, fake_stripe, **options))
        return instances[-1]

    yield another
    fake_stripe.heal()
    for instance in instances:
        instance.__exit__()


@pytest.fixture
def instance(open_instance: Callable[..., Instance]) -> Instance:
    """Return one instance."""
    return open_instance()


@pytest.fixture
def deployment(url: str, fake_stripe: FakeStripe, tmp_path: Path) -> Iterator[Deployment]:
    """Yield what real processes share, on each database."""
    made = Deployment(url, fake_stripe, tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def on_postgresql(
    postgresql_url: str, fake_stripe: FakeStripe, tmp_path: Path
) -> Iterator[Deployment]:
    """Yield the deployment on PostgreSQL, for several machines."""
    made = Deployment(postgresql_url, fake_stripe, tmp_path)
    yield made
    made.database.close()
