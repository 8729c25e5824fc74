"""Fixtures: databases of both kinds, the fake Stripe, and an instance of the service on them."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import tally
from faults.deployment import Deployment
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.pgproxy import PgProxy
from support.chance import chance_of, part_of, share
from support.postgresql import PostgreSql

from app.customers.steps import Cards

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
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave most of the further routes to `tox -e long`, and all but a share of the cases out."""
    for item in items:
        if _is_for_releases(item):
            item.add_marker("long")
    if share() < 1:
        _sample(config, items)


def _is_for_releases(item: pytest.Item) -> bool:
    """Return whether an item saves cards in a further route, and the suite has no time for it."""
    callspec: Any = getattr(item, "callspec", None)
    marker = item.get_closest_marker("all_routes")
    if callspec is None or marker is None or callspec.params.get("route", "source") == "source":
        return False
    return bool(marker.kwargs.get("long")) or callspec.params.get("url") == "postgresql"


def _sample(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a share of each test's cases, chosen by the seed, and one at least."""
    kept = {item for item in items if item.get_closest_marker("repeats")}
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item not in kept:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, each in cases.items():
        kept.update(chance_of(name).sample(each, part_of(len(each))))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts to the process that sums them up."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tally"] = tally.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a process that tests were handed to."""
    tally.add(getattr(node, "workeroutput", {}).get("tally", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was tried, and what the auditor found at the end of each test."""
    if share() < 1:
        terminalreporter.section("tried, and found by the auditor")
        for line in tally.lines():
            terminalreporter.line(line)


@pytest.fixture(autouse=True)
def tallied() -> Iterator[None]:
    """Count what the auditor found last in each test."""
    yield
    tally.close()


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
def choose_cards(request: pytest.FixtureRequest, route: str) -> Callable[[], Cards]:
    """Return what decides how the next process saves tokens."""
    chance = chance_of("cards", request.node.nodeid)

    def choose() -> Cards:
        by_pm = route == "token" or (route == "mixed" and chance.random() < 0.5)
        return "payment_method" if by_pm else "source"

    return choose


@pytest.fixture
def fake_stripe(request: pytest.FixtureRequest, route: str) -> Iterator[FakeStripe]:
    """Return a running fake_stripe of Stripe, whose callers send what the route says."""
    with FakeStripe() as running:
        running.account.chance = chance_of("account", request.node.nodeid)
        if route in ("pm", "mixed"):
            running.account.sends = route  # type: ignore[assignment]
        yield running


@pytest.fixture
def open_instance(
    url: str, fake_stripe: FakeStripe, choose_cards: Callable[[], Cards]
) -> Iterator[Callable[..., Instance]]:
    """Yield a way to open as many instances on one database as wanted."""
    instances: list[Instance] = []

    def another(**options: Any) -> Instance:
        options.setdefault("cards", choose_cards())
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
def deployment(
    url: str, fake_stripe: FakeStripe, tmp_path: Path, choose_cards: Callable[[], Cards]
) -> Iterator[Deployment]:
    """Yield what real processes share, on each database."""
    made = Deployment(url, fake_stripe, tmp_path, choose_cards)
    yield made
    made.database.close()


@pytest.fixture
def on_postgresql(
    postgresql_url: str, fake_stripe: FakeStripe, tmp_path: Path, choose_cards: Callable[[], Cards]
) -> Iterator[Deployment]:
    """Yield the deployment on PostgreSQL, for several machines."""
    made = Deployment(postgresql_url, fake_stripe, tmp_path, choose_cards)
    yield made
    made.database.close()
