"""The right to erasure: a user's customer and all that is stored of the user are deleted."""

import time

from sqlalchemy import select

from app.customers.attempt import LeaseLost
from app.customers.attempts import Attempts
from app.customers.save_card import Customers
from app.customers.timeouts import LAST_POLL, Timeouts
from app.customers.user import user_hash
from app.errors import (
    CardRefused,
    ConfigurationError,
    ParameterRefused,
    TokenRefused,
    UpdateInProgress,
)
from app.storage.database import Database
from app.storage.tables import issuers, partners, users


class Forgetting:
    """Forgets users, by an attempt of its own kind.

    A crash leaves that attempt open, and the completer finishes it. A request of the same user
    waits for its end, and then begins anew.
    """

    def __init__(self, customers: Customers, attempts: Attempts, timeouts: Timeouts) -> None:
        self._customers = customers
        self._attempts = attempts
        self._timeouts = timeouts

    def forget(self, user_id: int) -> bool:
        """Delete a user's customer at Stripe, then the row; an open attempt is settled first.

        Returns:
            False if there is no such row.

        Raises:
            UpdateInProgress: requests kept the row busy for as long as one may take.
            StripeUnavailable, StorageUnavailable, Misconfigured: the completer goes on if the
                attempt is open; it was withdrawn if Stripe has certainly executed nothing. The
                command can be repeated in any case.
        """
        is_known = False
        deadline = time.monotonic() + self._timeouts.request
        while time.monotonic() < deadline:
            if attempt := self._attempts.claim_to_forget(user_id):
                try:
                    self._customers.settle(attempt, None, deadline)
                except LeaseLost:
                    # The completer was faster, or the commit was not confirmed.
                    is_known = True
                    continue
                return True
            row = self._attempts.get_by_id(user_id)
            if row is None:
                return is_known
            is_known = True
            if row.is_leased:
                time.sleep(LAST_POLL)
            else:
                self._complete(user_id, row.attempt_id)
        raise UpdateInProgress

    def _complete(self, user_id: int, attempt_id: str) -> None:
        try:
            self._customers.complete(user_id, attempt_id, None)
        except (CardRefused, TokenRefused, ParameterRefused):
            # Settled all the same.
            return


def find_user(
    database: Database, installation: str, issuer: str, subject: str, partner: str | None
) -> int | None:
    """Find the row of a user, also of one who was rebuilt from Stripe and has not come back yet.

    Args:
        partner: the partner's name; needed if several have registered the issuer.

    Raises:
        ConfigurationError: it is not known whose user is meant.
    """
    registered = select(partners.c.name).join_from(issuers, partners)
    with database.reading() as connection:
        names = set(connection.scalars(registered.where(issuers.c.issuer == issuer)))
    if partner is None:
        if len(names) > 1:
            raise ConfigurationError("Several partners have this issuer: name one by --partner")
        if not names:
            raise ConfigurationError("No partner has this issuer: name the one it had by --partner")
        [partner] = names
    named = user_hash(installation, partner, issuer, subject)
    with database.reading() as connection:
        found: int | None = connection.scalar(select(users.c.id).where(users.c.user_hash == named))
    return found
