"""Tells an operator what is wrong with the configuration, all of it at once."""

from collections.abc import Iterator
from typing import NamedTuple

from app.config import Settings
from app.errors import ConfigurationError, StorageUnavailable
from app.identity.registry import check_issuers, list_partners
from app.storage.database import Database
from app.stripe_account import probe
from app.stripe_account.account import StripeAccount

# How long Stripe may take to answer, in seconds.
CALL = 10.0


class Result(NamedTuple):
    """What was looked at, and what is wrong with it: nothing where `trouble` is empty."""

    what: str
    trouble: str = ""


def check(settings: Settings) -> Iterator[Result]:
    """Look at everything that the service needs; what cannot be looked at is left out."""
    database = Database(settings.database_url)
    try:
        is_migrated = database.is_migrated()
    except StorageUnavailable as error:
        yield Result("database", f"cannot be used: {error.inner}")
    else:
        yield Result("database")
        yield Result("migrations", "" if is_migrated else "missing: run `coord-users migrate`")
        if is_migrated:
            yield from _issuers(database)
    yield Result("Stripe", _stripe_trouble(settings))
    database.close()


def _issuers(database: Database) -> Iterator[Result]:
    if not list_partners(database.engine):
        yield Result("partners", "none is registered: run `coord-users partner add`")
    troubles = dict(check_issuers(database.engine))
    for one in list_partners(database.engine):
        yield Result(f"issuer {one['issuer']}", troubles.get(one["issuer"], ""))


def _stripe_trouble(settings: Settings) -> str:
    try:
        settings.require_stripe_key()
    except ConfigurationError as error:
        return str(error)
    stripe = StripeAccount(settings.stripe_secret_key, settings.stripe_api_base)
    try:
        return probe.trouble(stripe, "source", timeout=CALL)
    finally:
        stripe.close()
