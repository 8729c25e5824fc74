"""Checks of everything that the service needs, for the command `coord-users check`."""

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple

from sqlalchemy import select

from app.config import Settings
from app.errors import ConfigurationError, StorageUnavailable
from app.identity.jwks import KeySource
from app.identity.keys import PRIVATE
from app.reconciliation.known_account import UNKNOWN, Known, newest_customers_known
from app.storage.database import Database
from app.storage.tables import issuers, partners
from app.stripe_account import probe
from app.stripe_account.account import StripeAccount

# How long Stripe may take to answer, in seconds: an operator waits for it.
CALL = 10.0
READ_ONLY = "takes no writes: it is a standby or read-only, so no card can be saved"


class Result(NamedTuple):
    """One thing that was checked.

    Attributes:
        trouble: what is wrong with it; empty if nothing is.
    """

    what: str
    trouble: str = ""
    state: str = "fine"


def check(settings: Settings) -> Iterator[Result]:
    """Check everything that the service needs; what cannot be checked is left out."""
    try:
        database = Database(settings.database_url)
    except ConfigurationError as error:
        yield Result("database", str(error))
        yield Result("Stripe", _stripe_trouble(settings))
        return
    with closing(database):
        is_usable = yield from _database(database)
        stripe_trouble = _stripe_trouble(settings)
        yield Result("Stripe", stripe_trouble)
        if is_usable and not stripe_trouble:
            yield Result("stored customers", _account_trouble(settings, database))


def _database(database: Database) -> Generator[Result, None, bool]:
    """Check the database; returns whether its tables can be read."""
    try:
        is_migrated = database.is_migrated()
        takes_writes = not is_migrated or database.takes_writes()
        durability = database.durability()
    except StorageUnavailable as error:
        yield Result("database", f"cannot be used: {error.inner}")
        return False
    except ConfigurationError as error:
        yield Result("database", str(error))
        return False
    yield Result("database", "" if takes_writes else READ_ONLY)
    yield Result("migrations", "" if is_migrated else "missing: run `coord-users migrate`")
    is_volatile = durability.commits == "volatile"
    state = f"{durability.commits}. {durability.risk}" if durability.risk else durability.commits
    yield Result("commits", durability.risk if is_volatile else "", state)
    if is_migrated:
        yield Result("installation", state=database.installation())
        yield from _issuers(database)
    return is_migrated


def _issuers(database: Database) -> Iterator[Result]:
    """Fetch or read the keys of each registration; each fetch takes some seconds at most."""
    query = select(issuers, partners.c.name).join_from(issuers, partners).order_by(issuers.c.id)
    with database.reading() as connection:
        rows = connection.execute(query.where(partners.c.disabled_at.is_(None))).all()
    if not rows:
        yield Result("partners", "none is registered: run `coord-users partner add`")
    for row in rows:
        what = f"issuer {row.issuer} of {row.name}"
        try:
            keys = KeySource(row.jwks_url, row.jwks, row.shared_secret).check(row.issuer)
        except ConfigurationError as error:
            yield Result(what, str(error))
        else:
            unused = "not used: " + "; ".join(map(str, keys.passed_over))
            if any(key.reason == PRIVATE for key in keys.passed_over):
                yield Result(what, unused)
            else:
                yield Result(what, state=unused if keys.passed_over else "fine")


def _stripe_trouble(settings: Settings) -> str:
    try:
        settings.require_stripe_key()
    except ConfigurationError as error:
        return str(error)
    stripe = StripeAccount(settings.stripe_secret_key, settings.stripe_api_base)
    try:
        return probe.trouble(stripe, settings.stripe_cards, timeout=CALL)
    finally:
        stripe.close()


def _account_trouble(settings: Settings, database: Database) -> str:
    """Return whether the key belongs to another account than the stored customers."""
    stripe = StripeAccount(settings.stripe_secret_key, settings.stripe_api_base)
    with closing(stripe):
        retrieve = partial(stripe.retrieve, timeout=CALL)
        known, reason = newest_customers_known(database, retrieve)
    if known is Known.UNREACHABLE:
        return f"cannot be checked: {reason}"
    return UNKNOWN if known is Known.NONE else ""
