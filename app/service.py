"""The composition root: one function wires the service, and nothing else knows all its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread

from app.config import Settings
from app.contract.connexion_app import serve_contract
from app.contract.document import Contract, Handlers
from app.contract.explorer import Prefilled
from app.customers.attempts import Attempts
from app.customers.completer import Completer
from app.customers.refusal_limits import Limits
from app.customers.save_card import Customers, Patience
from app.customers.token_cipher import Seal
from app.errors import ConfigurationError, StorageUnavailable, UsersApiError
from app.handlers import Services
from app.identity.credentials import Identity
from app.storage.database import Database
from app.stripe_account.account import StripeAccount
from app.telemetry.metrics import CONTENT_TYPE_LATEST, Metrics
from app.web.edge import MOST_READS, Edge
from app.web.problems import Problems, Response

# How much longer than one call to Stripe a lease lasts, in seconds.
LEASE_MARGIN = 5.0


def create_app(settings: Settings, prefilled: Prefilled | None = None) -> Edge:
    """Build the service.

    Args:
        settings: what the operator set.
        prefilled: what the explorer fills in; only the sandbox does.

    Raises:
        ConfigurationError: it cannot run like this; one line says why.
    """
    settings.require_stripe_key()
    contract = Contract.shipped("swagger.yaml")
    database = open_database(settings)
    metrics = Metrics()
    stripe = StripeAccount(
        settings.stripe_secret_key,
        settings.stripe_api_base,
        connections=settings.max_in_flight,
        observe=metrics.stripe_called,
        refused=metrics.stripe_refused_us,
    )
    attempts = make_attempts(settings, database)
    customers = make_customers(settings, attempts, stripe, database.installation())
    completer = Completer(customers, attempts, database, metrics)
    identity = Identity(database.engine)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[dict[str, Any]]:
        completer.start()
        yield {"identity": identity}
        await to_thread.run_sync(completer.stop)
        stripe.close()
        database.close()

    app = serve_contract(
        contract,
        Handlers("app.handlers"),
        lifespan,
        threads=settings.max_in_flight,
        read_threads=MOST_READS,
        validate_responses=settings.validate_responses,
        prefilled=prefilled,
    )
    Services(customers).attach_to(app.app)

    async def healthz() -> Response:
        return _text(200, "alive")

    async def readyz() -> Response:
        try:
            trouble = await to_thread.run_sync(_storage_trouble, database)
        except UsersApiError:
            trouble = "the database cannot be reached"
        return _text(503, trouble) if trouble else _text(200, "ready")

    async def exposition() -> Response:
        return Response(200, "", {"Content-Type": CONTENT_TYPE_LATEST}, metrics.exposition())

    probes = {"/healthz": healthz, "/readyz": readyz, "/metrics": exposition}
    return Edge(app, Problems(contract), probes, metrics, settings)


def make_attempts(settings: Settings, database: Database) -> Attempts:
    """Wire the rows of users: their leases outlast a call to Stripe."""
    seal = Seal(settings.stripe_secret_key)
    return Attempts(database, seal, settings.stripe_timeout + LEASE_MARGIN, make_limits(settings))


def make_customers(
    settings: Settings, attempts: Attempts, stripe: StripeAccount, installation: str
) -> Customers:
    """Wire the rule to its rows and to Stripe's door."""
    patience = Patience(call=settings.stripe_timeout, request=settings.request_timeout)
    return Customers(attempts, stripe, installation, patience, make_limits(settings))


def make_limits(settings: Settings) -> Limits:
    """Tell how many refused cards are borne."""
    return Limits(
        settings.refusals_per_user, settings.refusals_per_partner, settings.refusals_window
    )


def open_database(settings: Settings) -> Database:
    """Open the database that the service serves from.

    Raises:
        ConfigurationError: it cannot be reached, or its schema is not this version's.
    """
    database = Database(settings.database_url)
    try:
        if not database.is_migrated():
            raise ConfigurationError("The database is not migrated: run `coord-users migrate`")
    except StorageUnavailable as error:
        raise ConfigurationError(f"The database cannot be used: {error.inner}") from None
    return database


def _storage_trouble(database: Database) -> str:
    """Return in a few words why no save can be stored now; empty if one can."""
    if not database.is_migrated():
        return "the database is not migrated"
    return "" if database.takes_writes() else "the database takes no writes"


def _text(status: int, text: str) -> Response:
    return Response(status, "", {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
