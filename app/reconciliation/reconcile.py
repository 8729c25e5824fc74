"""Compares the database with Stripe and repairs what disagrees, for an operator to run.

It may run beside the service, and be interrupted at any moment: each change is one committed
statement, or one call to Stripe, and the next run goes on. It never deletes a customer, unless the
operator says so, and then only a user's second one.
"""

from collections.abc import Callable, Iterator

from app.customers.unnamed_rows import name_rows_of_the_version_before
from app.errors import ConfigurationError, ParameterRefused
from app.reconciliation.adoption import Adoption
from app.reconciliation.comparison import Comparison
from app.reconciliation.customer_marks import marks_of_user
from app.reconciliation.dangling import dangling
from app.reconciliation.duplicates import DuplicateCustomers
from app.reconciliation.finding import Finding, names
from app.reconciliation.known_account import Known, require_known_account
from app.reconciliation.ownership import Ownership
from app.reconciliation.paced_account import PacedAccount, side_by_side
from app.reconciliation.shared_customers import SharedCustomers
from app.storage.database import Database
from app.stripe_account.account import CustomerGone, OutcomeUnknown

PROGRESS = 1000


class Reconciliation:
    """One run.

    Args:
        installation: the id of this installation, or of the one that is rebuilt.
    """

    def __init__(
        self,
        database: Database,
        account: PacedAccount,
        installation: str,
        finish_work: Callable[[], Iterator[Finding]],
        *,
        dry_run: bool,
        delete: bool,
        progress: Callable[[str], None],
    ) -> None:
        self._database = database
        self._account = account
        self._installation = installation
        self._finish_work = finish_work
        self._dry_run = dry_run
        self._progress = progress
        self._ownership = Ownership(database)
        self._shared = SharedCustomers(self._ownership, account, installation, dry_run=dry_run)
        self._duplicates = DuplicateCustomers(
            self._ownership, account, installation, dry_run=dry_run, delete=delete
        )

    def run(self, claim: Callable[[], None] | None = None) -> Iterator[Finding]:
        """Repair what disagrees, and yield it; what cannot be repaired is yielded as left.

        Args:
            claim: in a database that is rebuilt, stores the installation's id. It is called once
                Stripe was seen to have customers of that installation.

        Raises:
            ConfigurationError: the key belongs to another account than the stored customers, or
                there is nothing to rebuild from.
            Misconfigured, OutcomeUnknown: Stripe does not answer.
            StorageUnavailable: the database cannot be used.
        """
        knowledge = require_known_account(self._database, self._account.retrieve_once)
        if knowledge.known is Known.UNREACHABLE:
            raise OutcomeUnknown(knowledge.reason)
        if not self._dry_run:
            name_rows_of_the_version_before(self._database, self._installation)
        yield from self._finish_work()
        yield from self._shared.decide()
        comparison = Comparison(self._ownership, self._account, self._installation, self._progress)
        yield from comparison.run()
        if claim is not None:
            if not comparison.ours:
                raise ConfigurationError(
                    f"Stripe has no customer of installation {self._installation}: see"
                    " `coord-users installations`"
                )
            claim()
        adoption = Adoption(
            self._ownership, self._account, comparison.living, dry_run=self._dry_run
        )
        yield from adoption.adopt(comparison.unknown)
        yield from dangling(self._ownership, self._account, comparison.living, self._progress)
        yield from self._duplicates.settle(adoption.duplicates)
        yield from self._mark(comparison.unmarked)

    def _mark(self, customers: list[tuple[str, bytes]]) -> Iterator[Finding]:
        """Write the user's hash to customers that lack it, so that they outlive the database."""
        if self._dry_run:
            if customers:
                self._progress(f"{len(customers)} customers lack their user's hash")
            return
        for number, finding in enumerate(side_by_side(self._mark_one, customers), 1):
            if finding is not None:
                yield finding
            if number % PROGRESS == 0:
                self._progress(f"{number} of {len(customers)} customers marked with their user")

    def _mark_one(self, customer: tuple[str, bytes]) -> Finding | None:
        customer_id, user_hash = customer
        try:
            metadata = marks_of_user(self._installation, user_hash)
            self._account.set_metadata(customer_id, metadata)
        except CustomerGone:
            return None
        except ParameterRefused as refused:
            outcome = f"Stripe refuses to mark it with its user: {refused.inner}"
            return Finding("unmarked", names(None, customer_id), outcome, True)
        return None
