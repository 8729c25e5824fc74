"""Gives customers that no row holds to their users, as far as these have none that lives."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from app.reconciliation.finding import Finding, Kind, names
from app.reconciliation.ownership import Found, Owner, Ownership
from app.reconciliation.paced_account import PacedAccount, side_by_side
from app.stripe_account.account import CustomerGone, CustomerUnknown

# Users whose rows are read, and inserted, by one statement.
BATCH = 500
WAS_CHANGED = "its user's row was changed meanwhile: run again"


@dataclass(frozen=True)
class Duplicates:
    """A user's further customers, beside the one in the row."""

    user_hash: bytes
    customers: list[str]


class Adoption:
    """Decides for each user with customers that no row holds.

    Attributes:
        duplicates: what is left, for `app.reconciliation.duplicates`.
    """

    def __init__(
        self,
        ownership: Ownership,
        account: PacedAccount,
        living: Collection[str],
        *,
        dry_run: bool,
    ) -> None:
        self._ownership = ownership
        self._account = account
        self._living = living
        self._dry_run = dry_run
        self.duplicates: list[Duplicates] = []

    def adopt(self, unknown: Iterable[Found]) -> Iterator[Finding]:
        """Adopt each user's customer that was acknowledged last, and yield what was done.

        Raises:
            Misconfigured, OutcomeUnknown: Stripe does not answer.
            StorageUnavailable: the database cannot be used.
        """
        by_user: defaultdict[bytes, list[Found]] = defaultdict(list)
        for found in unknown:
            by_user[found.user_hash].append(found)
        for customers in by_user.values():
            customers.sort(key=lambda one: one.acknowledged, reverse=True)
        users = iter(by_user.items())
        while batch := dict(islice(users, BATCH)):
            yield from self._adopt(batch)

    def _adopt(self, batch: dict[bytes, list[Found]]) -> Iterator[Finding]:
        owners = self._ownership.by_hash(batch)
        yield from self._insert({user: batch[user] for user in batch if user not in owners})
        known = [(owners[user], batch[user]) for user in batch if user in owners]
        for findings in side_by_side(self._decide, known):
            yield from findings

    def _insert(self, batch: dict[bytes, list[Found]]) -> Iterator[Finding]:
        """Insert the rows of users who have none."""
        latest = [customers[0] for customers in batch.values()]
        ids = self._ownership.insert(latest) if latest and not self._dry_run else {}
        for user, customers in batch.items():
            if not self._dry_run and user not in ids:
                yield from (_left(None, one, WAS_CHANGED) for one in customers)
                continue
            yield self._adopted(ids.get(user), customers[0])
            self._keep_duplicates(user, customers[1:])

    def _decide(self, of_user: tuple[Owner, list[Found]]) -> list[Finding]:
        """Decide for one user who has a row."""
        owner, customers = of_user
        # Decided since the list was read, or reported as shared.
        done = (owner.customer_id, owner.shared_id)
        customers = [one for one in customers if one.customer_id not in done]
        if not customers:
            return []
        if owner.attempt_id is not None:
            outcome = "its user has an open attempt: run again"
            return [_left(owner, one, outcome, "open_attempt") for one in customers]
        if owner.customer_id is not None and owner.customer_id not in self._living:
            try:
                self._account.retrieve(owner.customer_id)
            except CustomerGone:
                return self._give(owner, customers)
            except CustomerUnknown:
                outcome = f"its user has {owner.customer_id}, which this account does not know"
                return [_left(owner, one, outcome) for one in customers]
        if owner.customer_id is None:
            return self._give(owner, customers)
        self._keep_duplicates(customers[0].user_hash, customers)
        return []

    def _give(self, owner: Owner, customers: list[Found]) -> list[Finding]:
        if not self._dry_run and not self._ownership.give(owner, customers[0]):
            return [_left(owner, one, WAS_CHANGED) for one in customers]
        self._keep_duplicates(customers[0].user_hash, customers[1:])
        return [self._adopted(owner.id, customers[0])]

    def _keep_duplicates(self, user: bytes, customers: list[Found]) -> None:
        if customers:
            self.duplicates.append(Duplicates(user, [one.customer_id for one in customers]))

    def _adopted(self, user_id: int | None, found: Found) -> Finding:
        what = names(user_id, found.customer_id)
        if self._dry_run:
            return Finding("adopted", what, "would become its user's", True)
        return Finding("adopted", what, "is its user's now", False)


def _left(owner: Owner | None, found: Found, outcome: str, kind: Kind = "duplicate") -> Finding:
    user_id = None if owner is None else owner.id
    return Finding(kind, names(user_id, found.customer_id), outcome, True)
