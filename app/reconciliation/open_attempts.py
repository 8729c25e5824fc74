"""Settles the attempts that a crash left open, for `coord-users reconcile`."""

from collections.abc import Iterator

from app.customers.save_card import Customers
from app.customers.upkeep import Upkeep
from app.errors import CardRefused, ParameterRefused, TokenRefused, UsersApiError
from app.reconciliation.finding import Finding

# More than can be open: a bound for the query.
MOST = 1_000_000


def settle_open_attempts(
    customers: Customers, upkeep: Upkeep, *, dry_run: bool
) -> Iterator[Finding]:
    """Settle attempts that no process works on, each once, and yield what became of them.

    Raises:
        StorageUnavailable: the database cannot be used.
    """
    for row in upkeep.expired(MOST, all_of_them=True):
        what = f"user {row.id}"
        if dry_run:
            yield Finding("open_attempt", what, "would be settled", True)
            continue
        try:
            outcome = customers.complete(row.id, row.attempt_id, row.partner_id)
        except (CardRefused, TokenRefused, ParameterRefused) as refusal:
            yield Finding("open_attempt", what, refusal.code, False)
        except UsersApiError as error:
            yield Finding("open_attempt", what, error.code, True)
        else:
            outcome = outcome if outcome == "overtaken" else "settled"
            yield Finding("open_attempt", what, outcome, False)
