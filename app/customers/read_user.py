"""What is stored of a user, for the operation that reads it."""

from typing import NamedTuple

from sqlalchemy import select

from app.customers.user import User, user_hash
from app.storage.database import Database
from app.storage.tables import users


class StoredCustomer(NamedTuple):
    """The user's customer at Stripe.

    Attributes:
        last_updated: when a card was saved last, in seconds since the epoch.
    """

    id: str
    last_updated: float


class StoredCustomers:
    """Reads which customer a user has. It never waits for Stripe or for another request."""

    def __init__(self, database: Database, installation: str) -> None:
        self._database = database
        self._installation = installation

    def get(self, user: User) -> StoredCustomer | None:
        """Return the user's customer; None for a test user, and until a card was saved.

        Raises:
            StorageUnavailable: the database cannot be read.
        """
        if user.is_test:
            return None
        named = user_hash(self._installation, user.partner, user.issuer, user.subject)
        query = select(users.c.stripe_customer_id, users.c.last_updated).where(
            users.c.user_hash == named, users.c.stripe_customer_id.is_not(None)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return StoredCustomer(*row) if row else None
