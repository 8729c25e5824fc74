"""Whether Stripe's account, as the key shows it, is the one that the stored customers are on.

With the key of another account, or of the other mode, each user who saves a card would get a second
customer. Stripe still answers for deleted customers, so one that it does not know is on another
account (https://docs.stripe.com/api/customers/delete). Only in a sandbox can it also be that the
account's test data was deleted.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from sqlalchemy import func, select

from app.errors import ConfigurationError, Misconfigured
from app.storage.database import Database
from app.storage.tables import users
from app.stripe_account.account import Customer, CustomerGone, CustomerUnknown, OutcomeUnknown

# One alone may have been entered by mistake, or been deleted with test data.
NEWEST = 5
# Among so many rows the newest customers are looked for. New users whose cards are refused leave
# rows without a customer, by the million in an attack; reading 10,000 rows takes milliseconds.
LAST_ROWS = 10_000


class Known(Enum):
    """Whether Stripe knows the newest stored customers."""

    KNOWN = "at least one of them"
    NONE = "none of them"
    NOTHING_STORED = "no customer is stored"
    UNREACHABLE = "Stripe does not say"


class Knowledge(NamedTuple):
    """What Stripe knows.

    Attributes:
        reason: why Stripe does not say, for the log; it contains no secret.
    """

    known: Known
    reason: str = ""


def newest_customers_known(database: Database, retrieve: Callable[[str], Customer]) -> Knowledge:
    """Check whether the account knows the newest stored customers, up to the first that it knows.

    Raises:
        StorageUnavailable: the database cannot be used.
    """
    newest = _newest(database)
    for customer_id in newest:
        try:
            retrieve(customer_id)
        except CustomerUnknown:
            continue
        except CustomerGone:
            return Knowledge(Known.KNOWN)
        except (OutcomeUnknown, Misconfigured) as error:
            return Knowledge(Known.UNREACHABLE, str(error))
        return Knowledge(Known.KNOWN)
    return Knowledge(Known.NONE if newest else Known.NOTHING_STORED)


def _newest(database: Database) -> Sequence[str]:
    """Return the newest customers, or any customers if none of the last rows has one."""
    before_last = select(func.max(users.c.id) - LAST_ROWS).scalar_subquery()
    of_last = (
        select(users.c.stripe_customer_id)
        .where(users.c.id > before_last, users.c.stripe_customer_id.is_not(None))
        .order_by(users.c.id.desc())
        .limit(NEWEST)
    )
    # Compared like this, both databases read the index of customers, and no row without one.
    of_any = (
        select(users.c.stripe_customer_id)
        .where(users.c.stripe_customer_id > "")
        .order_by(users.c.stripe_customer_id.desc())
        .limit(NEWEST)
    )
    with database.reading() as connection:
        return connection.scalars(of_last).all() or connection.scalars(of_any).all()


def require_known_account(database: Database, retrieve: Callable[[str], Customer]) -> Knowledge:
    """Check as `newest_customers_known` does.

    Raises:
        ConfigurationError: the account knows none of them.
        StorageUnavailable: the database cannot be used.
    """
    knowledge = newest_customers_known(database, retrieve)
    if knowledge.known is Known.NONE:
        raise ConfigurationError(UNKNOWN)
    return knowledge


UNKNOWN = (
    "Stripe knows none of the newest stored customers: STRIPE_SECRET_KEY belongs to another account"
    " or mode. If the account's test data was deleted, run `coord-users forget` for its users or"
    " begin with an empty database"
)
