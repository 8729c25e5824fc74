"""Reports a user's further customers, and deletes them if the operator says so.

Nothing is deleted before the whole list was read, and of a user's customers not the one that was
acknowledged last. Right before, Stripe and the row are read once more.
"""

from collections.abc import Iterable, Iterator

from app.reconciliation.adoption import WAS_CHANGED, Duplicates
from app.reconciliation.customer_marks import Marks
from app.reconciliation.finding import Finding, names
from app.reconciliation.ownership import Found, Owner, Ownership
from app.reconciliation.paced_account import PacedAccount
from app.stripe_account.account import Customer, CustomerGone, CustomerUnknown, OutcomeUnknown


class DuplicateCustomers:
    """Works through users with more than one living customer."""

    def __init__(
        self,
        ownership: Ownership,
        account: PacedAccount,
        installation: str,
        *,
        dry_run: bool,
        delete: bool,
    ) -> None:
        self._ownership = ownership
        self._account = account
        self._installation = installation
        self._dry_run = dry_run
        self._delete = delete

    def settle(self, duplicates: Iterable[Duplicates]) -> Iterator[Finding]:
        """Yield each duplicate, and what was done with it.

        Raises:
            Misconfigured, OutcomeUnknown: Stripe does not answer.
            StorageUnavailable: the database cannot be used.
        """
        for one in duplicates:
            owner = self._ownership.by_hash([one.user_hash]).get(one.user_hash)
            further = [it for it in one.customers if owner is None or it != owner.customer_id]
            if owner is None or owner.customer_id is None or owner.attempt_id is not None:
                yield from (_left(owner, it, WAS_CHANGED) for it in further)
            elif not self._delete:
                outcome = f"its user has {owner.customer_id}"
                yield from (_left(owner, it, outcome) for it in further)
            else:
                yield from self._settle(owner, owner.customer_id, further)

    def _settle(self, owner: Owner, stored_id: str, further: list[str]) -> Iterator[Finding]:
        """Keep the one that was acknowledged last, and delete the others."""
        stored = self._retrieve(stored_id)
        if stored is None:
            outcome = f"its user's {stored_id} does not live any more: run again"
            yield from (_left(owner, it, outcome) for it in further)
            return
        living = [self._retrieve(it) for it in further]
        others = [one for one in living if one is not None and self._names(one, owner)]
        latest = max(others, key=lambda one: Marks.of(one).acknowledged, default=stored)
        if Marks.of(latest).acknowledged <= _acknowledged(stored, owner):
            for one in others:
                yield self._delete_one(owner, stored_id, one.id)
        elif not self._names(stored, owner):
            outcome = f"the metadata of its user's {stored_id}, which is older, names another user"
            yield from (_left(owner, one.id, outcome) for one in others)
        elif not self._switch(owner, latest):
            yield from (_left(owner, one.id, WAS_CHANGED) for one in others)
        else:
            for one in (stored, *others):
                if one is not latest:
                    yield self._delete_one(owner, latest.id, one.id)

    def _names(self, customer: Customer, owner: Owner) -> bool:
        """Return whether a customer's metadata proves that it is this user's."""
        marks = Marks.of(customer)
        if marks.installation != self._installation:
            return False
        is_held = marks.row_id == owner.id and customer.id == owner.customer_id
        return marks.user_hash == owner.user_hash or is_held

    def _switch(self, owner: Owner, kept: Customer) -> bool:
        assert owner.user_hash is not None
        return self._dry_run or self._ownership.give(owner, Found.of(kept, owner.user_hash))

    def _delete_one(self, owner: Owner, kept_id: str, customer_id: str) -> Finding:
        what = names(owner.id, customer_id)
        if self._dry_run:
            return Finding("duplicate", what, f"would be deleted: its user has {kept_id}", True)
        if self._ownership.by_customer([customer_id]):
            return Finding("duplicate", what, WAS_CHANGED, True)
        try:
            self._account.delete(customer_id)
        except CustomerGone:
            return Finding("duplicate", what, "was deleted meanwhile", False)
        except OutcomeUnknown as unknown:
            return Finding("duplicate", what, f"perhaps deleted, run again: {unknown}", True)
        return Finding("duplicate", what, f"deleted: its user has {kept_id}", False)

    def _retrieve(self, customer_id: str) -> Customer | None:
        """Return a customer, or None if it does not live on this account."""
        try:
            return self._account.retrieve(customer_id)
        except (CustomerGone, CustomerUnknown):
            return None


def _acknowledged(stored: Customer, owner: Owner) -> float:
    """Return when a stored customer was acknowledged last.

    The row knows it also where the metadata is of version 1.0.
    """
    return max(Marks.of(stored).acknowledged, owner.last_updated or 0.0)


def _left(owner: Owner | None, customer_id: str, outcome: str) -> Finding:
    user_id = None if owner is None else owner.id
    return Finding("duplicate", names(user_id, customer_id), outcome, True)
