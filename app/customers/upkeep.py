"""What the completer does beside settling attempts, and what it looks for."""

from typing import Any

from sqlalchemy import Row

from app.customers import statements
from app.customers.unnamed_rows import name_rows_of_the_version_before
from app.storage.database import Database


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
            return list(connection.execute(statements.ABANDONED, values))

    def open_attempts(self) -> tuple[int, float]:
        """Return how many attempts are not settled, and the age of the oldest in seconds."""
        with self._database.reading() as connection:
            number, age = connection.execute(statements.OPEN_ATTEMPTS).one()
        return number, age

    def delete_old_refusals(self) -> None:
        """Delete the refusals that are older than the window."""
        with self._database.writing() as connection:
            connection.execute(statements.FORGET_REFUSALS, {"p_window": self._window})

    def replaced_cards(self, most: int, after: int = 0) -> list[Row[Any]]:
        """Return rows whose replaced PaymentMethod is still to be detached.

        Args:
            after: the id of the last row before them.
        """
        values = {"p_most": most, "p_after": after}
        with self._database.reading() as connection:
            return list(connection.execute(statements.REPLACED, values))

    def record_detached(self, user_id: int, payment_method: str) -> None:
        """Record that a replaced PaymentMethod needs no more attention."""
        values = {"m_user": user_id, "m_payment_method": payment_method}
        with self._database.writing() as connection:
            connection.execute(statements.DETACHED, values)

    def name_rows(self) -> None:
        """Hash the users of rows that the version before has made since the migration."""
        name_rows_of_the_version_before(self._database, self._installation)
