"""Takes over customers that exist at Stripe already, for `coord-users import`.

Each line of the file is a statement of the operator: this customer is this user's. It is checked
against the database and against Stripe, then the customer is marked with our metadata, then the row
is stored. An import that is interrupted is run again: what is done already is known, and a customer
that is marked and not stored yet is adopted by `reconcile` as well.
"""

from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import select

from app.customers.unnamed_rows import name_rows_of_the_version_before
from app.errors import ParameterRefused
from app.reconciliation.customer_marks import INSTALLATION, STARTED, USER, Marks, marks_of_user
from app.reconciliation.import_file import Imported, ImportFile, Line, LineRefused, Registration
from app.reconciliation.known_account import Known, require_known_account
from app.reconciliation.ownership import Found, Owner, Ownership
from app.reconciliation.paced_account import PacedAccount, side_by_side
from app.storage.database import Database
from app.storage.tables import issuers, now, partners
from app.stripe_account.account import Customer, CustomerGone, CustomerUnknown, OutcomeUnknown

# Progress is shown after so many lines: about every 15 seconds.
PROGRESS = 100


class Import:
    """One run."""

    def __init__(
        self, database: Database, account: PacedAccount, progress: Callable[[str], None]
    ) -> None:
        self._database = database
        self._account = account
        self._progress = progress
        self._ownership = Ownership(database)
        self._installation = database.installation()

    def run(self, lines: Iterable[bytes]) -> Iterator[Imported]:
        """Import lines, and yield what became of each.

        Args:
            lines: of a JSONL file; empty ones are passed over.

        Raises:
            ConfigurationError: the key belongs to another account than the stored customers.
            Misconfigured, OutcomeUnknown: Stripe does not answer.
            StorageUnavailable: the database cannot be used.
        """
        knowledge = require_known_account(self._database, self._account.retrieve_once)
        if knowledge.known is Known.UNREACHABLE:
            raise OutcomeUnknown(knowledge.reason)
        name_rows_of_the_version_before(self._database, self._installation)
        read = ImportFile(self._registrations(), self._installation).read(lines)
        with self._database.reading() as connection:
            self._now = int(connection.scalar(select(now())) or 0)
        for number, imported in enumerate(side_by_side(self._import, read), 1):
            yield imported
            if number % PROGRESS == 0:
                self._progress(f"{number} lines done")

    def _registrations(self) -> list[Registration]:
        query = select(
            issuers.c.id, partners.c.name, issuers.c.issuer, issuers.c.is_test
        ).join_from(issuers, partners)
        with self._database.reading() as connection:
            return [Registration(*row) for row in connection.execute(query)]

    def _import(self, line: Line | Imported) -> Imported:
        if isinstance(line, Imported):
            return line
        try:
            outcome = self._take_over(line)
        except LineRefused as refused:
            return Imported(line.number, str(refused), True)
        return Imported(line.number, outcome, False)

    def _take_over(self, line: Line) -> str:
        owner = self._owner(line)
        try:
            customer = self._account.retrieve(line.customer_id)
        except CustomerGone:
            raise LineRefused(f"{line.customer_id} was deleted at Stripe") from None
        except CustomerUnknown:
            raise LineRefused(f"{line.customer_id} is not known to Stripe's account") from None
        marks = Marks.of(customer)
        self._check_marks(marks, line)
        is_marked = (marks.installation, marks.user_hash) == (self._installation, line.user_hash)
        is_stored = owner is not None and owner.customer_id == line.customer_id
        if is_marked and is_stored and owner is not None and owner.subject is not None:
            return "known"
        if not is_marked:
            self._mark(customer, line)
        found = Found.of(customer, line.user_hash)
        if not self._ownership.store(found, line.registration.id, line.subject):
            if not is_marked:
                self._restore_marks(customer)
            raise LineRefused("its user was changed meanwhile: import it again")
        return "imported"

    def _owner(self, line: Line) -> Owner | None:
        """Return the row of a line's user, once nothing stored contradicts the line."""
        holder = self._ownership.by_customer([line.customer_id]).get(line.customer_id)
        if holder is not None and holder.user_hash != line.user_hash:
            raise LineRefused(f"{line.customer_id} is the customer of user {holder.id}")
        owner = self._ownership.by_hash([line.user_hash]).get(line.user_hash)
        if owner is None:
            return None
        if owner.attempt_id is not None:
            raise LineRefused(f"user {owner.id} has an open attempt: import it again later")
        if owner.customer_id not in (None, line.customer_id):
            raise LineRefused(f"user {owner.id} has another customer, {owner.customer_id}")
        return owner

    def _check_marks(self, marks: Marks, line: Line) -> None:
        """Check what a customer's metadata says against the line."""
        if marks.installation not in (None, self._installation):
            raise LineRefused(f"{line.customer_id} belongs to another installation")
        if marks.installation is not None and marks.user_hash not in (None, line.user_hash):
            raise LineRefused(f"the metadata of {line.customer_id} names another user")
        if marks.attempt is not None and self._ownership.under_way([marks.attempt]):
            raise LineRefused(f"{line.customer_id} is being changed: import it again later")

    def _mark(self, customer: Customer, line: Line) -> None:
        metadata = {
            **marks_of_user(self._installation, line.user_hash),
            STARTED: str(self._now),
        }
        try:
            self._account.set_metadata(customer.id, metadata)
        except CustomerGone:
            raise LineRefused(f"{customer.id} was deleted at Stripe") from None
        except ParameterRefused as refused:
            raise LineRefused(f"Stripe refuses to mark {customer.id}: {refused.inner}") from None

    def _restore_marks(self, customer: Customer) -> None:
        """Restore the metadata that a customer had, as it did not become its user's."""
        before = {name: customer.metadata.get(name, "") for name in (INSTALLATION, USER, STARTED)}
        self._account.set_metadata(customer.id, before)
