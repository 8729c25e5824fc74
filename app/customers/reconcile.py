"""Compares the users with Stripe and repairs what does not agree, for an operator to run."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import select

from app.customers.save_card import Customers
from app.customers.upkeep import Upkeep
from app.errors import CardRefused, ParameterRefused, TokenRefused, UsersApiError
from app.storage.database import Database
from app.storage.tables import users
from app.stripe_account.account import (
    Customer,
    CustomerGone,
    CustomerUnknown,
    OutcomeUnknown,
    StripeAccount,
)

# How long one call to Stripe may take, in seconds.
CALL = 30.0
# A customer younger than this may belong to an attempt that is still under way, in seconds.
YOUNG = 600.0
PAGE = 500


@dataclass(frozen=True)
class Finding:
    """One thing that did not agree.

    Attributes:
        kind: `open_attempt`, `orphan` or `dangling`.
        what: the user's row or the customer's id.
        outcome: what was done about it, or would be.
        is_left: whether it still does not agree.
    """

    kind: str
    what: str
    outcome: str
    is_left: bool


class Reconciliation:
    """One run.

    Args:
        customers: settles attempts.
        upkeep: finds the open attempts.
        database: holds the users.
        stripe: Coord's account.
        installation: proves by the customers' metadata that they are ours.
        dry_run: change nothing, tell only.
        progress: told how far it is, in words.
    """

    def __init__(
        self,
        customers: Customers,
        upkeep: Upkeep,
        database: Database,
        stripe: StripeAccount,
        installation: str,
        *,
        dry_run: bool,
        progress: Callable[[str], None],
    ) -> None:
        self._customers = customers
        self._upkeep = upkeep
        self._database = database
        self._stripe = stripe
        self._installation = installation
        self._dry_run = dry_run
        self._progress = progress

    def run(self) -> Iterator[Finding]:
        """Tell, and unless it is a dry run repair, all that does not agree.

        Raises:
            OutcomeUnknown, Misconfigured: Stripe does not answer.
            StorageUnavailable: the database does not.
        """
        yield from self._open_attempts()
        yield from self._orphans()
        yield from self._dangling()

    def _open_attempts(self) -> Iterator[Finding]:
        """Settle what was left open; each is tried once, so that the run comes to an end."""
        for row in self._upkeep.expired(most=1_000_000, all_of_them=True):
            if self._dry_run:
                yield Finding("open_attempt", f"user {row.id}", "would be settled", True)
                continue
            is_left = False
            try:
                outcome = self._customers.complete(row.id, row.attempt_id, row.partner_id)
                if outcome != "overtaken":
                    outcome = "settled"
            except (CardRefused, TokenRefused, ParameterRefused) as refusal:
                outcome = refusal.code
            except UsersApiError as error:
                outcome, is_left = error.code, True
            yield Finding("open_attempt", f"user {row.id}", outcome, is_left)

    def _orphans(self) -> Iterator[Finding]:
        """Delete customers that no user owns, where our metadata proves that they are ours.

        None is deleted before the list is read to its end: it goes on from the last customer of
        each page, which must be there still.
        """
        unowned: list[str] = []
        page: list[Customer] = []
        until = time.time() - YOUNG
        for seen, customer in enumerate(self._stripe.created_between(0, until, timeout=CALL), 1):
            if customer.metadata.get("coord_installation") == self._installation:
                page.append(customer)
            if len(page) == PAGE:
                unowned += self._unowned(page)
                page = []
            if seen % 1000 == 0:
                self._progress(f"{seen} customers at Stripe compared")
        unowned += self._unowned(page)
        for customer_id in unowned:
            yield self._without(customer_id)

    def _unowned(self, page: list[Customer]) -> list[str]:
        ids = [customer.id for customer in page]
        attempts = [customer.metadata.get("coord_attempt", "") for customer in page]
        with self._database.reading() as connection:
            # In this order: an attempt that is settled in between has made its user the owner.
            under_way = set(
                connection.scalars(
                    select(users.c.attempt_id).where(users.c.attempt_id.in_(attempts))
                )
            )
            owned = set(
                connection.scalars(
                    select(users.c.stripe_customer_id).where(users.c.stripe_customer_id.in_(ids))
                )
            )
        return [
            customer.id
            for customer in page
            if customer.id not in owned and customer.metadata.get("coord_attempt") not in under_way
        ]

    def _without(self, customer_id: str) -> Finding:
        """Delete a customer that no user owns, and tell."""
        if self._dry_run:
            return Finding("orphan", customer_id, "would be deleted", True)
        try:
            self._stripe.delete(customer_id, timeout=CALL)
        except CustomerGone:
            return Finding("orphan", customer_id, "gone", False)
        except OutcomeUnknown:
            return Finding("orphan", customer_id, "unknown", True)
        return Finding("orphan", customer_id, "deleted", False)

    def _dangling(self) -> Iterator[Finding]:
        """Tell users whose customer is gone: their next update makes a new one."""
        last, seen = 0, 0
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(
                    select(users.c.id, users.c.stripe_customer_id)
                    .where(users.c.id > last, users.c.stripe_customer_id.is_not(None))
                    .order_by(users.c.id)
                    .limit(PAGE)
                ).all()
            if not rows:
                return
            for row in rows:
                try:
                    self._stripe.retrieve(row.stripe_customer_id, timeout=CALL)
                except CustomerGone:
                    what = f"user {row.id}, customer {row.stripe_customer_id}"
                    yield Finding("dangling", what, "replaced at the user's next update", False)
                except CustomerUnknown:
                    what = f"user {row.id}, customer {row.stripe_customer_id}"
                    yield Finding("unknown", what, "not this account's: check the key", True)
            last, seen = rows[-1].id, seen + len(rows)
            self._progress(f"{seen} users compared")
