"""What the completer does beside settling attempts, and what it looks for."""

from typing import Any

from sqlalchemy import (
    Boolean,
    Row,
    bindparam,
    case,
    func,
    literal,
    null,
    select,
    update,
)

from app.customers.unnamed_rows import name_rows_of_the_version_before
from app.storage.database import Database
from app.storage.tables import issuers, now, refusals, users

# An attempt that was taken over n times is left alone for 2.5 * 2^n seconds, a minute at most: so
# many attempts that fail together ask less and less, and each is settled within a minute of the
# day Stripe is well again.
FIRST_BACKOFF, MOST_DOUBLINGS = 2.5, 5
BACKOFF = literal(FIRST_BACKOFF) * case(
    *[(users.c.attempt_tries <= number, float(2**number)) for number in range(MOST_DOUBLINGS)],
    (users.c.attempt_tries.is_(None), 1.0),
    else_=24.0,
)
FORGET_REFUSALS = refusals.delete().where(refusals.c.refused_at < now() - bindparam("p_window"))
# Open attempts that no process works on, the longest abandoned first. A row that was rebuilt from
# Stripe has no registration, but then it has no refused card to count either.
ABANDONED = (
    select(users.c.id, users.c.attempt_id, issuers.c.partner_id)
    .select_from(users.outerjoin(issuers))
    .where(
        users.c.attempt_id.is_not(None),
        users.c.lease_until <= now(),
        case((bindparam("p_all", type_=Boolean()), 0.0), else_=BACKOFF)
        <= now() - users.c.lease_until,
    )
    .order_by(users.c.lease_until)
    .limit(bindparam("p_most"))
)
OPEN_ATTEMPTS = select(
    func.count(), func.coalesce(now() - func.min(users.c.attempt_started_at), 0.0)
).where(users.c.attempt_id.is_not(None))
REPLACED = (
    select(users.c.id, users.c.stripe_customer_id, users.c.replaced_payment_method_id)
    .where(users.c.replaced_payment_method_id.is_not(None), users.c.id > bindparam("p_after"))
    .order_by(users.c.id)
    .limit(bindparam("p_most"))
)
DETACHED = (
    update(users)
    .where(
        users.c.id == bindparam("m_user"),
        users.c.replaced_payment_method_id == bindparam("m_payment_method"),
    )
    .values(replaced_payment_method_id=null())
)


class Upkeep:
    """Reads and cleans up the rows of `users` and `refusals`.

    Args:
        window: of the rate limits on refused cards, in seconds.
    """

    def __init__(self, database: Database, installation: str, window: float) -> None:
        self._database = database
        self._installation = installation
        self._window = window

    def expired(self, most: int, *, all_of_them: bool = False) -> list[Row[Any]]:
        """Return open attempts that no process works on, with the partner of each.

        Args:
            all_of_them: also those that were taken over a moment ago, without success.
        """
        values = {"p_most": most, "p_all": all_of_them}
        with self._database.reading() as connection:
            return list(connection.execute(ABANDONED, values))

    def open_attempts(self) -> tuple[int, float]:
        """Return how many attempts are not settled, and the age of the oldest in seconds."""
        with self._database.reading() as connection:
            number, age = connection.execute(OPEN_ATTEMPTS).one()
        return number, age

    def delete_old_refusals(self) -> None:
        """Delete the refusals that are older than the window."""
        with self._database.writing() as connection:
            connection.execute(FORGET_REFUSALS, {"p_window": self._window})

    def replaced_cards(self, most: int, after: int = 0) -> list[Row[Any]]:
        """Return rows whose replaced PaymentMethod is still to be detached.

        Args:
            after: the id of the last row before them.
        """
        values = {"p_most": most, "p_after": after}
        with self._database.reading() as connection:
            return list(connection.execute(REPLACED, values))

    def record_detached(self, user_id: int, payment_method: str) -> None:
        """Record that a replaced PaymentMethod needs no more attention."""
        values = {"m_user": user_id, "m_payment_method": payment_method}
        with self._database.writing() as connection:
            connection.execute(DETACHED, values)

    def name_rows(self) -> None:
        """Hash the users of rows that the version before has made since the migration."""
        name_rows_of_the_version_before(self._database, self._installation)
