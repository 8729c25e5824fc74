"""The installations of this service that have customers on Coord's account."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import exists, update

from app.errors import ConfigurationError
from app.reconciliation.comparison import AHEAD, PROGRESS
from app.reconciliation.customer_marks import Marks
from app.reconciliation.paced_account import PacedAccount
from app.storage.database import Database
from app.storage.tables import installation as installation_table
from app.storage.tables import users


@dataclass(frozen=True)
class Installation:
    """An installation, as its customers at Stripe show it.

    Attributes:
        newest: when the newest of them was created, in seconds since the epoch.
    """

    id: str
    customers: int
    newest: int


def list_installations(
    account: PacedAccount, progress: Callable[[str], None]
) -> list[Installation]:
    """Return the installations with living customers, that with the newest customer first.

    Raises:
        Misconfigured, OutcomeUnknown: Stripe did not send all of the list.
    """
    found: dict[str, Installation] = {}
    seen = 0
    for page in account.pages(0.0, time.time() + AHEAD):
        for customer in page:
            name = Marks.of(customer).installation
            if name is not None:
                # The list begins with the newest.
                before = found.get(name, Installation(name, 0, customer.created))
                found[name] = Installation(name, before.customers + 1, before.newest)
        if (seen + len(page)) // PROGRESS > seen // PROGRESS:
            progress(f"{seen + len(page)} customers at Stripe read")
        seen += len(page)
    return list(found.values())


def claim_installation(database: Database, installation: str) -> None:
    """Set the id of the database's installation to another one, to rebuild it from its customers.

    Raises:
        ConfigurationError: it has users of its own already.
        StorageUnavailable: the database cannot be used.
    """
    if database.installation() == installation:
        return
    statement = update(installation_table).where(~exists().select_from(users))
    with database.writing() as connection:
        if connection.execute(statement.values(id=installation)).rowcount != 1:
            raise ConfigurationError(
                "The database has users of its own: --from rebuilds only one without users"
            )
