"""Decides whose a customer is that two rows held before that was forbidden.

Migration 0003 took such a customer from all its rows and set it aside in `shared_customer_id`. Its
metadata names the user that it was last updated for.
"""

from collections import defaultdict
from collections.abc import Iterator

from app.reconciliation.customer_marks import Marks, marks_of_user
from app.reconciliation.finding import Finding, names
from app.reconciliation.ownership import Found, Owner, Ownership
from app.reconciliation.paced_account import PacedAccount
from app.stripe_account.account import Customer, CustomerGone, CustomerUnknown


class SharedCustomers:
    """Works through the rows with a customer that was set aside."""

    def __init__(
        self, ownership: Ownership, account: PacedAccount, installation: str, *, dry_run: bool
    ) -> None:
        self._ownership = ownership
        self._account = account
        self._installation = installation
        self._dry_run = dry_run

    def decide(self) -> Iterator[Finding]:
        """Assign each shared customer to the user whom its metadata proves; yield what was done."""
        shared: defaultdict[str, list[Owner]] = defaultdict(list)
        for page in self._ownership.pages():
            for owner in page:
                if owner.shared_id is not None:
                    shared[owner.shared_id].append(owner)
        for customer_id, owners in shared.items():
            yield self._decide(customer_id, owners)

    def _decide(self, customer_id: str, owners: list[Owner]) -> Finding:
        what = f"{names(None, customer_id)}, users {', '.join(str(one.id) for one in owners)}"
        try:
            customer = self._account.retrieve(customer_id)
        except CustomerGone:
            self._release(owners, customer_id)
            return self._finding(what, "it was deleted: no user has it")
        except CustomerUnknown:
            return Finding("shared", what, "not known to this account: check the key", True)
        proven = self._proven(Marks.of(customer), owners)
        if proven is None:
            return Finding("shared", what, "its metadata names none of them", True)
        if proven.attempt_id is not None:
            return Finding("shared", what, f"user {proven.id} has an open attempt", True)
        return self._settle(customer, proven, owners, what)

    def _settle(self, customer: Customer, proven: Owner, owners: list[Owner], what: str) -> Finding:
        """Mark the customer, give it to its user, take it from the others: each can be repeated."""
        assert proven.user_hash is not None
        others = [one for one in owners if one.id != proven.id]
        if not self._dry_run:
            metadata = marks_of_user(self._installation, proven.user_hash)
            self._account.set_metadata(customer.id, metadata)
            if proven.customer_id is None:
                if not self._ownership.give(proven, Found.of(customer, proven.user_hash)):
                    return Finding("shared", what, f"user {proven.id} was changed meanwhile", True)
            elif proven.customer_id != customer.id:
                others = owners
        self._release(others, customer.id)
        if proven.customer_id in (None, customer.id):
            return self._finding(what, f"given to user {proven.id}")
        return self._finding(what, f"user {proven.id} has another one by now")

    def _proven(self, marks: Marks, owners: list[Owner]) -> Owner | None:
        """Return the row that the metadata proves: by the user's hash, or by the row's id.

        The row's id is trusted because the row with that id holds this very customer.
        """
        if marks.installation != self._installation:
            return None
        if marks.user_hash is not None:
            return self._ownership.by_hash([marks.user_hash]).get(marks.user_hash)
        by_id = {one.id: one for one in owners if one.user_hash is not None}
        return None if marks.row_id is None else by_id.get(marks.row_id)

    def _release(self, owners: list[Owner], customer_id: str) -> None:
        if not self._dry_run:
            self._ownership.release_shared([one.id for one in owners], customer_id)

    def _finding(self, what: str, outcome: str) -> Finding:
        if self._dry_run:
            return Finding("shared", what, f"would be settled: {outcome}", True)
        return Finding("shared", what, outcome, False)
