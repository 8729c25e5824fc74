"""The composition root: one function wires the service, and nothing else knows all its parts."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from anyio import to_thread

from app.config import Settings
from app.contract.connexion_app import serve_contract
from app.contract.document import Contract, Handlers
from app.contract.explorer import Prefilled
from app.customers.attempts import Attempts
from app.customers.calls import Calls
from app.customers.completer import Completer
from app.customers.forget import Forgetting
from app.customers.read_user import StoredCustomers
from app.customers.refusal_limits import RefusalLimits
from app.customers.replaced_cards import ReplacedCards
from app.customers.save_card import Customers
from app.customers.timeouts import Timeouts
from app.customers.token_cipher import TokenCipher
from app.customers.upkeep import Upkeep
from app.errors import UsersApiError
from app.handlers import Services
from app.identity.credentials import Identity
from app.reconciliation.known_account import Known, require_known_account
from app.storage.database import Database, open_migrated
from app.stripe_account.account import StripeAccount
from app.telemetry.metrics import CONTENT_TYPE_LATEST, Metrics
from app.web.edge import MOST_READS, Edge
from app.web.problems import Problems, Response

log = structlog.get_logger()

# How long the start waits for Stripe, in seconds. Stripe usually answers within one, and to start
# unchecked is better than not to start because Stripe is slow.
ACCOUNT_CHECK = 5.0


def create_app(
    settings: Settings, prefilled: Prefilled | None = None, metrics: Metrics | None = None
) -> Edge:
    """Build the service.

    Raises:
        ConfigurationError: it cannot run like this; one line says why.
    """
    settings.require_stripe_key()
    contract = Contract.shipped("swagger.yaml")
    metrics = metrics or Metrics()
    with ExitStack() as on_failure:
        # A reload that fails must leave nothing open beside what goes on serving.
        database = on_failure.enter_context(closing(open_database(settings)))
        stripe = StripeAccount(
            settings.stripe_secret_key,
            settings.stripe_api_base,
            connections=settings.max_in_flight,
            observe=metrics.stripe_called,
            refused=metrics.stripe_refused_us,
        )
        on_failure.callback(stripe.close)
        edge = _assemble(settings, contract, database, stripe, prefilled, metrics)
        on_failure.pop_all()
    return edge


def _assemble(
    settings: Settings,
    contract: Contract,
    database: Database,
    stripe: StripeAccount,
    prefilled: Prefilled | None,
    metrics: Metrics,
) -> Edge:
    """Build the service on what is open; at its end, it closes both."""
    rule = make_rule(settings, database, stripe)
    replaced_cards = ReplacedCards(rule.upkeep, stripe, settings.stripe_timeout)
    completer = Completer(rule.customers, rule.upkeep, replaced_cards, database, metrics)
    identity = Identity(database.engine, metrics)

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
    stored_customers = StoredCustomers(database, rule.installation)
    Services(rule.customers, stored_customers).attach_to(app.app)

    async def healthz() -> Response:
        return _text(200, "alive")

    async def readyz() -> Response:
        if edge.is_stopping:
            return _text(503, "stopping")
        try:
            trouble = await to_thread.run_sync(_storage_trouble, database)
        except UsersApiError:
            trouble = "the database cannot be reached"
        return _text(503, trouble) if trouble else _text(200, "ready")

    async def exposition() -> Response:
        return Response(200, "", {"Content-Type": CONTENT_TYPE_LATEST}, metrics.exposition())

    probes = {"/healthz": healthz, "/readyz": readyz, "/metrics": exposition}
    durability = database.durability()
    facts = {
        "database": database.address,
        "commits": durability.commits,
        **({"risk": durability.risk} if durability.risk else {}),
        "stripe_mode": "live" if "_live_" in settings.stripe_secret_key else "test",
        "installation": rule.installation,
    }
    edge = Edge(app, Problems(contract), probes, metrics, settings, facts, completer.finish)
    return edge


def check_account(settings: Settings) -> None:
    """Make sure that the account is that of the stored customers; call it once, before serving.

    If Stripe cannot be reached, the service starts all the same: no customer that Stripe does not
    know is ever replaced (see `app.customers.settle`).

    Raises:
        ConfigurationError: Stripe knows none of the newest ones, or the database is not usable.
    """
    with closing(open_database(settings)) as database, closing(open_stripe(settings)) as stripe:
        retrieve = partial(stripe.retrieve, timeout=ACCOUNT_CHECK)
        known, reason = require_known_account(database, retrieve)
    if known is Known.UNREACHABLE:
        log.warning("stored customers not checked", reason=reason)


@dataclass(frozen=True)
class Rule:
    """The rule and what belongs to it, for the service and for the commands."""

    customers: Customers
    attempts: Attempts
    forgetting: Forgetting
    upkeep: Upkeep
    stripe: StripeAccount
    installation: str


def make_rule(settings: Settings, database: Database, stripe: StripeAccount) -> Rule:
    """Wire the rule to the rows of users and to Stripe."""
    timeouts = Timeouts(call=settings.stripe_timeout, request=settings.request_timeout)
    limits = RefusalLimits(
        settings.refusals_per_user, settings.refusals_per_partner, settings.refusals_window
    )
    installation = database.installation()
    attempts = Attempts(
        database,
        TokenCipher(settings.stripe_secret_key),
        timeouts.lease,
        limits,
        installation,
        settings.stripe_cards,
    )
    calls = Calls(stripe, installation, is_live="_live_" in settings.stripe_secret_key)
    customers = Customers(attempts, calls, timeouts, limits)
    return Rule(
        customers,
        attempts,
        Forgetting(customers, attempts, timeouts),
        Upkeep(database, installation, limits.window),
        stripe,
        installation,
    )


def open_stripe(settings: Settings) -> StripeAccount:
    """Return Coord's account, for a command.

    Raises:
        ConfigurationError: there is no key that could be valid.
    """
    settings.require_stripe_key()
    return StripeAccount(settings.stripe_secret_key, settings.stripe_api_base)


def open_database(settings: Settings) -> Database:
    """Open the database that the service serves from.

    Raises:
        ConfigurationError: it cannot be reached, or its schema is not this version's.
    """
    return open_migrated(settings.database_url)


def _storage_trouble(database: Database) -> str:
    """Return in a few words why no save can be stored now; empty if one can."""
    if not database.is_migrated():
        return "the database is not migrated"
    return "" if database.takes_writes() else "the database takes no writes"


def _text(status: int, text: str) -> Response:
    return Response(status, "", {"Content-Type": "text/plain; charset=utf-8"}, text.encode())
