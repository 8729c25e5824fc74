"""Compares Stripe's list of customers with the rows of users, in one pass."""

import time
from collections.abc import Callable, Iterator

from app.reconciliation.customer_marks import Marks
from app.reconciliation.finding import Finding, names
from app.reconciliation.ownership import Found, Owner, Ownership
from app.reconciliation.paced_account import PacedAccount
from app.stripe_account.account import Customer

# How far Stripe's clock may be ahead of this machine's, in seconds: a day, as it is only a bound.
AHEAD = 86_400.0
# Progress is shown after so many customers: about every three seconds at Stripe's usual speed.
PROGRESS = 1000


class Comparison:
    """One pass over all customers of the account.

    Attributes:
        living: the customers, of those of this installation or in a row, that were on the list.
        unknown: customers of this installation that no row holds, and whose user is certain.
        unmarked: customers in rows whose metadata does not name the user, with the user's hash.
        ours: how many customers of this installation there are.
    """

    def __init__(
        self,
        ownership: Ownership,
        account: PacedAccount,
        installation: str,
        progress: Callable[[str], None],
    ) -> None:
        self._ownership = ownership
        self._account = account
        self._installation = installation
        self._progress = progress
        self.living: set[str] = set()
        self.unknown: list[Found] = []
        self.unmarked: list[tuple[str, bytes]] = []
        self.ours = 0

    def run(self) -> Iterator[Finding]:
        """Read the list to its end, and yield what is to be reported and left.

        Raises:
            Misconfigured, OutcomeUnknown: Stripe did not send all of the list.
            StorageUnavailable: the database cannot be used.
        """
        seen = 0
        for page in self._account.pages(0.0, time.time() + AHEAD):
            yield from self._compare(page)
            if (seen + len(page)) // PROGRESS > seen // PROGRESS:
                self._progress(f"{seen + len(page)} customers at Stripe compared")
            seen += len(page)

    def _compare(self, page: list[Customer]) -> Iterator[Finding]:
        marks = {customer.id: Marks.of(customer) for customer in page}
        # In this order: an attempt that is settled in between has given its user the customer.
        under_way = self._ownership.under_way(
            {mark.attempt for mark in marks.values() if mark.attempt is not None}
        )
        owners = self._ownership.by_customer(marks)
        unknown: list[Customer] = []
        for customer in page:
            mark, owner = marks[customer.id], owners.get(customer.id)
            is_ours = mark.installation == self._installation
            self.ours += is_ours
            if owner is not None or is_ours:
                self.living.add(customer.id)
            if owner is not None:
                yield from self._check_marks(customer.id, mark, owner)
            elif is_ours and mark.attempt not in under_way:
                unknown.append(customer)
        if unknown:
            yield from self._sort(self._still_living(unknown))

    def _check_marks(self, customer_id: str, mark: Marks, owner: Owner) -> Iterator[Finding]:
        """Compare the metadata of a customer with the row that holds it."""
        what = names(owner.id, customer_id)
        if mark.installation not in (None, self._installation):
            yield Finding("shared", what, "its metadata names another installation", True)
        elif mark.user_hash is None or mark.installation is None:
            if owner.user_hash is not None:
                self.unmarked.append((customer_id, owner.user_hash))
        elif owner.user_hash is not None and mark.user_hash != owner.user_hash:
            yield Finding("shared", what, "its metadata names another user", True)

    def _still_living(self, customers: list[Customer]) -> list[Customer]:
        """Read customers again, now that no row was found to hold them.

        A user may have been forgotten after the page was read and before the rows were: first the
        customer is deleted, then the row. By one more page, not by one call for each customer.
        """
        first, last = customers[-1].created, customers[0].created
        living = {one.id for page in self._account.pages(first, last) for one in page}
        return [customer for customer in customers if customer.id in living]

    def _sort(self, customers: list[Customer]) -> Iterator[Finding]:
        """Keep the customers whose user is certain, and report the others."""
        marks = {customer.id: Marks.of(customer) for customer in customers}
        rows = {mark.row_id for mark in marks.values() if mark.row_id is not None}
        by_id = self._ownership.by_id(rows) if rows else {}
        for customer in customers:
            mark = marks[customer.id]
            if mark.user_hash is not None:
                self.unknown.append(Found.of(customer, mark.user_hash))
                continue
            owner = None if mark.row_id is None else by_id.get(mark.row_id)
            # One that was set aside has been reported already.
            if owner is None or owner.shared_id != customer.id:
                what = names(None, customer.id)
                yield Finding("unowned", what, "no row proves whose it is", True)
