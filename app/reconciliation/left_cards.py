"""Detaches the replaced cards that were left attached, for `coord-users reconcile`."""

import threading
from collections.abc import Iterator

from app.customers.pacer import Pacer
from app.customers.replaced_cards import ReplacedCards
from app.customers.upkeep import Upkeep
from app.errors import UsersApiError
from app.reconciliation.finding import Finding, names
from app.stripe_account.account import CustomerUnknown, OutcomeUnknown

# Rows that are read at once.
PAGE = 1000


def detach_left_cards(cards: ReplacedCards, upkeep: Upkeep, *, dry_run: bool) -> Iterator[Finding]:
    """Detach each card that a row names as replaced, and yield what became of it.

    The service does so seconds after a card was replaced. Cards are left where it was stopped
    then, or where Stripe refused.

    Raises:
        StorageUnavailable: the database cannot be used.
    """
    pacer = Pacer(threading.Event())
    after = 0
    while rows := upkeep.replaced_cards(PAGE, after):
        for row in rows:
            what = names(row.id, row.stripe_customer_id)
            if dry_run:
                yield Finding("replaced_card", what, "would be detached", True)
                continue
            pacer.wait()
            try:
                cards.detach_one(row)
            except (CustomerUnknown, UsersApiError, OutcomeUnknown) as error:
                yield Finding("replaced_card", what, f"not detached: {error}", True)
            else:
                yield Finding("replaced_card", what, "detached", False)
        after = rows[-1].id
