"""Rate limits on refused cards, so that stolen card numbers cannot be tested here.

https://docs.stripe.com/disputes/prevention/card-testing asks integrators to limit attempts. Refused
cards are counted for each user and each partner in a sliding window, in the database, so that the
limits hold for all processes together.
"""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select

from app.errors import TooManyAttempts
from app.storage.tables import now, refusals

Condition = ColumnElement[bool]


@dataclass(frozen=True)
class RefusalLimits:
    """How many refused cards are allowed within the window.

    Attributes:
        window: its length in seconds.
    """

    per_user: int
    per_partner: int
    window: float

    def refused(self, condition: Condition, what: Any = None) -> Any:
        """Return a query over the refusals in the window: their count, or `what` if given.

        It stays cheap: once a limit is reached, no further refusals are added.
        """
        in_window = refusals.c.refused_at > now() - self.window
        what = func.count() if what is None else what
        return select(what).select_from(refusals).where(in_window, condition)

    def columns(self, by_user: Condition, by_partner: Condition, beside: Any) -> list[Any]:
        """Return the columns that `check` reads: both counts, and both waits in seconds.

        Args:
            beside: the table of the query that these columns are added to.
        """
        oldest = func.min(refusals.c.refused_at)

        def column(condition: Condition, what: Any = None) -> Any:
            return self.refused(condition, what).correlate(beside).scalar_subquery()

        return [
            column(by_user).label("refused_user"),
            column(by_partner).label("refused_partner"),
            (column(by_user, oldest) + self.window - now()).label("wait_user"),
            (column(by_partner, oldest) + self.window - now()).label("wait_partner"),
        ]

    def check(self, row: Row[Any]) -> None:
        """Check a row with these columns against the limits.

        Raises:
            TooManyAttempts: the user or the partner has reached one.
        """
        for refused, limit, wait in (
            (row.refused_partner, self.per_partner, row.wait_partner),
            (row.refused_user, self.per_user, row.wait_user),
        ):
            if refused >= limit:
                raise TooManyAttempts(retry_after=math.ceil(wait))
