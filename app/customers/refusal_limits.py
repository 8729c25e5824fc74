"""How many refused cards are borne, so that nobody tests stolen ones here.

https://docs.stripe.com/disputes/prevention/card-testing asks to limit attempts. Refused cards are
counted for each user and each partner in a sliding window, in the database: for all processes.
"""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select

from app.errors import TooManyAttempts
from app.storage.tables import now, refusals

Whose = ColumnElement[bool]


@dataclass(frozen=True)
class Limits:
    """What is borne within the window.

    Attributes:
        per_user: refused cards of one user.
        per_partner: refused cards of all users of one partner.
        window: its length in seconds.
    """

    per_user: int
    per_partner: int
    window: float

    def refused(self, whose: Whose, what: Any = None) -> Any:
        """Give the query that counts refused cards in the window, or tells else `what` of them.

        Nobody gets far above the limits, so it stays cheap.
        """
        lately = refusals.c.refused_at > now() - self.window
        what = func.count() if what is None else what
        return select(what).select_from(refusals).where(lately, whose)

    def columns(self, by_user: Whose, by_partner: Whose, beside: Any) -> list[Any]:
        """Give what `check` looks at: the counts, and the seconds until the oldest is forgotten.

        Args:
            by_user: tells which refused cards are the user's.
            by_partner: tells which are the partner's.
            beside: the table of the query that these columns are for.
        """
        oldest = func.min(refusals.c.refused_at)

        def column(whose: Whose, what: Any = None) -> Any:
            return self.refused(whose, what).correlate(beside).scalar_subquery()

        return [
            column(by_user).label("refused_user"),
            column(by_partner).label("refused_partner"),
            (column(by_user, oldest) + self.window - now()).label("wait_user"),
            (column(by_partner, oldest) + self.window - now()).label("wait_partner"),
        ]

    def check(self, row: Row[Any]) -> None:
        """Look at the columns.

        Raises:
            TooManyAttempts: the user, or the partner, has to wait.
        """
        for refused, limit, wait in (
            (row.refused_partner, self.per_partner, row.wait_partner),
            (row.refused_user, self.per_user, row.wait_user),
        ):
            if refused >= limit:
                raise TooManyAttempts(retry_after=math.ceil(wait))
