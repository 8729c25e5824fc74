"""Which row holds which customer: the queries and guarded statements of `reconcile` and `import`.

Each statement that changes a row compares it first with what was read, and never touches a row with
an open attempt. So of a row that the service changes at the same time, the service's change stands.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Insert, Select, Update, case, func, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from app.reconciliation.customer_marks import Marks
from app.storage.database import Database
from app.storage.tables import now, users
from app.stripe_account.account import Customer

# Rows read by one query.
PAGE = 1000
PAYMENT_METHOD = "payment_method"


class Owner(NamedTuple):
    """A row of `users`, as far as it concerns whose customer is whose.

    Attributes:
        user_hash: names the user; None if the version before made the row.
        subject: the user's; None if the row was rebuilt.
        shared_id: a customer that another row has as well; see `users.shared_customer_id`.
        last_updated: when the customer was acknowledged last, in seconds since the epoch.
    """

    id: int
    user_hash: bytes | None
    subject: str | None
    customer_id: str | None
    shared_id: str | None
    attempt_id: str | None
    last_updated: float | None


class Found(NamedTuple):
    """A customer at Stripe and the user whom its metadata names.

    Attributes:
        default_kind: as in `users.default_kind`.
        acknowledged: see `Marks`.
    """

    customer_id: str
    user_hash: bytes
    default_kind: str | None
    acknowledged: int

    @classmethod
    def of(cls, customer: Customer, user_hash: bytes) -> "Found":
        """Return a customer as that of a user."""
        kind = None if customer.default_payment_method is None else PAYMENT_METHOD
        return cls(customer.id, user_hash, kind, Marks.of(customer).acknowledged)


OWNER = (
    users.c.id,
    users.c.user_hash,
    users.c.subject,
    users.c.stripe_customer_id,
    users.c.shared_customer_id,
    users.c.attempt_id,
    users.c.last_updated,
)


class Ownership:
    """The rows of `users`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[
            database.engine.dialect.name
        ]

    def by_customer(self, customer_ids: Iterable[str]) -> dict[str, Owner]:
        """Return the rows that hold these customers, by customer."""
        rows = self._rows(users.c.stripe_customer_id.in_(list(customer_ids)))
        return {row.customer_id: row for row in rows if row.customer_id is not None}

    def by_hash(self, user_hashes: Iterable[bytes]) -> dict[bytes, Owner]:
        """Return the rows of these users, by the user's hash."""
        rows = self._rows(users.c.user_hash.in_(list(user_hashes)))
        return {row.user_hash: row for row in rows if row.user_hash is not None}

    def by_id(self, ids: Iterable[int]) -> dict[int, Owner]:
        """Return these rows, by id."""
        return {row.id: row for row in self._rows(users.c.id.in_(list(ids)))}

    def under_way(self, attempt_ids: Iterable[str]) -> set[str]:
        """Return those of the attempts that are open."""
        is_one = users.c.attempt_id.in_(list(attempt_ids))
        # Each has a lease, current or expired: SQLite takes the index of open attempts by that.
        is_open = users.c.attempt_id.is_not(None) & (users.c.lease_until > 0)
        rows = self._rows(is_open & is_one)
        return {row.attempt_id for row in rows if row.attempt_id is not None}

    def pages(self) -> Iterator[list[Owner]]:
        """Yield all rows by pages, in the order of their ids."""
        last = 0
        while page := self._read(
            select(*OWNER).where(users.c.id > last).order_by(users.c.id).limit(PAGE)
        ):
            yield page
            last = page[-1].id

    def insert(self, found: Sequence[Found]) -> dict[bytes, int]:
        """Insert rows for users who have none, with their customers.

        Returns:
            The ids of the new rows, by the user's hash. A user or customer that has a row by now is
            left out.
        """
        values = [{"user_hash": one.user_hash, **_customer(one)} for one in found]
        statement = self._insert(users).on_conflict_do_nothing()
        with self._database.writing() as connection:
            rows = connection.execute(statement.returning(users.c.user_hash, users.c.id), values)
            return {row.user_hash: row.id for row in rows}

    def give(self, owner: Owner, found: Found) -> bool:
        """Store a customer in a row, in the place of the one it was read with, or of none.

        Returns:
            False if the row is not any more as it was read, or has an open attempt, or another row
            has the customer.
        """
        statement = (
            update(users)
            .where(
                users.c.id == owner.id,
                users.c.user_hash == found.user_hash,
                users.c.stripe_customer_id.is_not_distinct_from(owner.customer_id),
                users.c.attempt_id.is_(None),
            )
            .values(
                **_customer(found),
                shared_customer_id=func.nullif(users.c.shared_customer_id, found.customer_id),
                payment_method_id=null(),
                replaced_payment_method_id=null(),
                token_hash=null(),
            )
        )
        return self._changes_one(statement)

    def store(self, found: Found, issuer_id: int, subject: str) -> bool:
        """Store a user's customer and the user's registration and subject.

        Returns:
            False if the user has another customer or an open attempt, or another row has the
            customer.
        """
        holds_none = users.c.stripe_customer_id.is_(None)
        insert = self._insert(users).values(
            user_hash=found.user_hash,
            issuer_id=issuer_id,
            subject=subject,
            stripe_customer_id=found.customer_id,
            default_kind=found.default_kind,
            last_updated=now(),
        )
        statement = insert.on_conflict_do_update(
            index_elements=["user_hash"],
            set_={
                "issuer_id": issuer_id,
                "subject": subject,
                "stripe_customer_id": found.customer_id,
                "default_kind": case((holds_none, found.default_kind), else_=users.c.default_kind),
                "shared_customer_id": func.nullif(users.c.shared_customer_id, found.customer_id),
                "last_updated": func.coalesce(users.c.last_updated, now()),
            },
            where=users.c.attempt_id.is_(None)
            & (holds_none | (users.c.stripe_customer_id == found.customer_id)),
        )
        return self._changes_one(statement)

    def release_shared(self, owner_ids: Iterable[int], customer_id: str) -> None:
        """Record that a shared customer does not belong to these rows."""
        statement = (
            update(users)
            .where(users.c.id.in_(list(owner_ids)), users.c.shared_customer_id == customer_id)
            .values(shared_customer_id=null())
        )
        with self._database.writing() as connection:
            connection.execute(statement)

    def _rows(self, which: ColumnElement[bool]) -> list[Owner]:
        return self._read(select(*OWNER).where(which))

    def _read(self, query: Select[Any]) -> list[Owner]:
        with self._database.reading() as connection:
            return [Owner(*row) for row in connection.execute(query)]

    def _changes_one(self, statement: Insert | Update) -> bool:
        with self._database.writing() as connection:
            try:
                return connection.execute(statement.returning(users.c.id)).first() is not None
            except IntegrityError:
                # Another row has the customer.
                connection.rollback()
                return False


def _customer(found: Found) -> dict[str, Any]:
    return {
        "stripe_customer_id": found.customer_id,
        "default_kind": found.default_kind,
        "last_updated": float(found.acknowledged),
    }
