"""Each arrow between the states of a user's row, as one guarded statement.

`app.customers` says when each is taken. All of them compare before they set, so that of two
processes that want the same row, one gets it and the other is told; all times are the database's.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Row,
    Update,
    bindparam,
    func,
    literal,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app import trace
from app.database import Database
from app.errors import UsersApiError
from app.identity import User
from app.limits import Limits
from app.prepared import Prepared
from app.seal import Seal, Unreadable
from app.tables import issuers, now, refusals, users

# What a settled row holds of an attempt: nothing.
NOTHING = {
    column.name: null()
    for column in users.c
    if column.name.startswith("attempt_") or column.name.startswith("lease_")
}


# What `_attempt` reads.
ATTEMPT = (
    users,
    (now() - users.c.attempt_started_at).label("age"),
    (now() - users.c.attempt_sent_at).label("silence"),
)
LEASE = now() + bindparam("p_lease", type_=Float())

# All are made once: SQLAlchemy's statements know themselves, so that one made for each request
# would wait for the collector, which holds up the whole process.

# Only while the lease is ours: a process that slept too long changes nothing.
OURS = update(users).where(
    users.c.id == bindparam("m_user"),
    users.c.attempt_id == bindparam("m_attempt"),
    users.c.lease_holder == bindparam("m_holder"),
)
ACCEPT = OURS.values(
    **NOTHING,
    stripe_customer_id=bindparam("stripe_customer_id"),
    token_hash=bindparam("token_hash"),
    last_updated=now(),
    refusal=null(),
)
REFUSE = OURS.values(**NOTHING, refusal=bindparam("p_told", type_=users.c.refusal.type))
RELEASE = OURS.values(lease_until=now())
RENEW = OURS.values(lease_until=LEASE, attempt_sent_at=now()).returning(*ATTEMPT)
ANEW = RENEW.values(
    attempt_key=bindparam("p_key"),
    attempt_customer_id=bindparam("p_customer"),
    attempt_email=bindparam("p_email"),
    attempt_started_at=now(),
)
COUNT_REFUSAL = refusals.insert().values(
    user_id=bindparam("user_id"), partner_id=bindparam("partner_id"), refused_at=now()
)
TAKE_OVER = (
    update(users)
    .where(
        users.c.id == bindparam("m_user"),
        users.c.attempt_id == bindparam("m_attempt"),
        users.c.lease_until <= now(),
    )
    .values(lease_holder=bindparam("m_holder"), lease_until=LEASE)
    .returning(*ATTEMPT)
)


class LeaseLost(Exception):
    """Raised when another process has taken over an attempt that was ours."""


@dataclass(frozen=True)
class Attempt:
    """One try to save one card, written down before Stripe hears of it.

    Attributes:
        id: names the attempt, in our table and in the customer's metadata at Stripe.
        user_id: the row of `users`.
        request_id: of the request that began it.
        key: the idempotency key; a new one whenever the parameters change.
        token: the card token; None where it was sealed with a secret that is no more.
        customer_id: the customer whose card is replaced; None to create one.
        email: what the user's JWT said when the attempt began.
        holder: who holds the lease.
        age: seconds since the attempt began, or since its key was made.
        silence: seconds since a call was last sent, or said to be about to.
        started_at, sent_at: between these its calls were sent, in seconds since the epoch.
    """

    id: str
    user_id: int
    request_id: str
    key: str
    token: str | None = field(repr=False)
    token_hash: bytes
    customer_id: str | None
    email: str | None
    holder: str
    age: float
    silence: float
    started_at: float
    sent_at: float


def token_hash(token: str) -> bytes:
    """Tell a token again without keeping it: card tokens are random, so SHA-256 hides them."""
    return hashlib.sha256(token.encode()).digest()


class Attempts:
    """The rows of `users` and their one open attempt.

    Args:
        database: where the rows are.
        seal: keeps tokens unreadable in the database.
        lease: seconds for which a process may work on an attempt before others take it over.
        limits: how many refused cards are borne.
    """

    def __init__(self, database: Database, seal: Seal, lease: float, limits: Limits) -> None:
        self._database = database
        self._seal = seal
        self._lease = lease
        self._limits = limits
        insert = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
        dialect = database.engine.dialect
        self._begin = Prepared(_begin_statement(insert[dialect.name], limits), dialect)
        self._accept = Prepared(ACCEPT, dialect)
        self._look = _look_statement(limits)
        self._refused = limits.refused(refusals.c.user_id == bindparam("p_user"))

    def begin(self, user: User, token: str, request_id: str = "") -> Attempt | None:
        """Settled -> leased, and the row made for a new user.

        Returns:
            None where the row is not settled, was settled with this very token, or the limits
            are reached; `look` tells which.

        Raises:
            CallerIsGone: nobody waits for it any more.
        """
        attempt_id = uuid.uuid4().hex
        hashed = token_hash(token)
        values = {
            "p_issuer": user.issuer_id,
            "p_partner": user.partner_id,
            "p_subject": user.subject,
            "p_attempt": attempt_id,
            "p_request": request_id,
            "p_hash": hashed,
            "p_token": self._seal.close(token, attempt_id),
            "p_email": user.email,
            "p_lease": self._lease,
        }
        with self._database.writing() as connection:
            # On a busy day most of the waiting is for this connection.
            trace.current().require_caller()
            row = self._begin.run(connection, values).one_or_none()
            if row is not None and row.was_refused and self._is_stopped(connection, row.id):
                connection.rollback()
                return None
        if row is None:
            return None
        return Attempt(
            id=attempt_id,
            user_id=row.id,
            request_id=request_id,
            key=attempt_id,
            token=token,
            token_hash=hashed,
            customer_id=row.attempt_customer_id,
            email=user.email,
            holder=attempt_id,
            age=0.0,
            silence=0.0,
            started_at=row.attempt_started_at,
            sent_at=row.attempt_started_at,
        )

    def look(self, user: User) -> Row[Any]:
        """Tell a user's row as it is, NULL for a new user, and what `Limits.check` looks at."""
        values = {
            "p_issuer": user.issuer_id,
            "p_partner": user.partner_id,
            "p_subject": user.subject,
        }
        with self._database.reading() as connection:
            return connection.execute(self._look, values).one()

    def abandoned(self, most: int) -> list[Row[Any]]:
        """Tell the open attempts that nobody works on, and whose partner's they are."""
        query = (
            select(users.c.id, users.c.attempt_id, issuers.c.partner_id)
            .join_from(users, issuers)
            .where(users.c.attempt_id.is_not(None), users.c.lease_until <= now())
            .order_by(users.c.lease_until)
            .limit(most)
        )
        with self._database.reading() as connection:
            return list(connection.execute(query))

    def open_ones(self) -> tuple[int, float]:
        """Tell how many attempts are not settled, and the age of the oldest in seconds."""
        oldest = func.coalesce(now() - func.min(users.c.attempt_started_at), 0.0)
        query = select(func.count(), oldest).where(users.c.attempt_id.is_not(None))
        with self._database.reading() as connection:
            number, age = connection.execute(query).one()
        return number, age

    def forget_old_refusals(self) -> None:
        """Delete the refused cards that no window reaches any more."""
        statement = refusals.delete().where(refusals.c.refused_at < now() - self._limits.window)
        with self._database.writing() as connection:
            connection.execute(statement)

    def take_over(self, user_id: int, attempt_id: str) -> Attempt | None:
        """Open -> leased; None where somebody was faster."""
        values = {
            "m_user": user_id,
            "m_attempt": attempt_id,
            "m_holder": uuid.uuid4().hex,
            "p_lease": self._lease,
        }
        with self._database.writing() as connection:
            row = connection.execute(TAKE_OVER, values).one_or_none()
        return None if row is None else self._attempt(row)

    def renew(self, attempt: Attempt) -> Attempt:
        """Leased -> leased, before a call is sent that was or may have been sent before.

        Raises:
            LeaseLost: another process has taken over.
        """
        return self._change(RENEW, attempt, {})

    def anew(self, attempt: Attempt, customer_id: str | None, email: str | None) -> Attempt:
        """Leased -> leased with other parameters, hence with a new idempotency key.

        Taken only where Stripe is known not to have executed the old ones.

        Raises:
            LeaseLost: another process has taken over.
        """
        changed = {"p_key": uuid.uuid4().hex, "p_customer": customer_id, "p_email": email}
        return self._change(ANEW, attempt, changed)

    def accept(self, attempt: Attempt, customer_id: str) -> None:
        """Leased -> settled: the customer is the user's, and the token its latest.

        Raises:
            LeaseLost: another process has taken over, and settles it likewise.
        """
        values = {
            **_mine(attempt),
            "stripe_customer_id": customer_id,
            "token_hash": attempt.token_hash,
        }
        with self._database.writing() as connection:
            if self._accept.run(connection, values).rowcount != 1:
                raise LeaseLost

    def refuse(self, attempt: Attempt, error: UsersApiError, partner_id: int | None) -> None:
        """Leased -> settled, with nothing changed but that it was refused, and why.

        Args:
            attempt: what was refused.
            error: what the caller is told; those who wait for the same attempt are told the same.
            partner_id: counts the refusal against the user and this partner; None to count none.

        Raises:
            LeaseLost: another process has taken over, and is refused likewise.
        """
        told = {
            "attempt": attempt.id,
            "kind": type(error).__name__,
            "code": error.code,
            "decline_code": getattr(error, "decline_code", None),
        }
        with self._database.writing() as connection:
            values = {**_mine(attempt), "p_told": told}
            if connection.execute(REFUSE, values).rowcount != 1:
                raise LeaseLost
            if partner_id is not None:
                refused = {"user_id": attempt.user_id, "partner_id": partner_id}
                connection.execute(COUNT_REFUSAL, refused)

    def release(self, attempt: Attempt) -> None:
        """Leased -> open, at once: the outcome is unknown and whoever comes next asks again."""
        with self._database.writing() as connection:
            connection.execute(RELEASE, _mine(attempt))

    def _is_stopped(self, connection: Connection, user_id: int) -> bool:
        """Count a user's refused cards once more, now that the row is ours.

        A statement of PostgreSQL that had to wait for the row goes on with it as it is then, but
        counts what there was when it began: not the refusal that it waited for
        (https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED). Only a
        refusal can reach the limit, so whoever was not refused last need not be counted again.
        """
        number: int = connection.execute(self._refused, {"p_user": user_id}).scalar_one()
        return number >= self._limits.per_user

    def _change(self, statement: Update, attempt: Attempt, values: dict[str, Any]) -> Attempt:
        values = {**values, **_mine(attempt), "p_lease": self._lease}
        with self._database.writing() as connection:
            row = connection.execute(statement, values).one_or_none()
        if row is None:
            raise LeaseLost
        return self._attempt(row)

    def _attempt(self, row: Row[Any]) -> Attempt:
        token: str | None
        try:
            token = self._seal.open(row.attempt_token, row.attempt_id)
        except Unreadable:
            token = None
        return Attempt(
            id=row.attempt_id,
            user_id=row.id,
            request_id=row.attempt_request,
            key=row.attempt_key,
            token=token,
            token_hash=row.attempt_token_hash,
            customer_id=row.attempt_customer_id,
            email=row.attempt_email,
            holder=row.lease_holder,
            age=row.age,
            silence=row.silence,
            started_at=row.attempt_started_at,
            sent_at=row.attempt_sent_at,
        )


def _mine(attempt: Attempt) -> dict[str, Any]:
    """Give the values of `OURS`."""
    return {"m_user": attempt.user_id, "m_attempt": attempt.id, "m_holder": attempt.holder}


def _look_statement(limits: Limits) -> Any:
    """A row in any case, so that the limits of a new user's partner are told as well."""
    issuer = bindparam("p_issuer", type_=users.c.issuer_id.type)
    subject = bindparam("p_subject", type_=users.c.subject.type)
    partner = bindparam("p_partner", type_=refusals.c.partner_id.type)
    one = select(literal(1).label("one")).subquery()
    columns = limits.columns(
        refusals.c.user_id == users.c.id, refusals.c.partner_id == partner, beside=users
    )
    row = one.outerjoin(users, (users.c.issuer_id == issuer) & (users.c.subject == subject))
    is_leased = (users.c.lease_until > now()).label("is_leased")
    return select(users, is_leased, *columns).select_from(row)


def _begin_statement(insert: Callable[..., Any], limits: Limits) -> Any:
    """One statement that makes or claims the row: two requests cannot both get it."""
    attempt = {
        "attempt_id": bindparam("p_attempt", type_=users.c.attempt_id.type),
        "attempt_request": bindparam("p_request", type_=users.c.attempt_request.type),
        "attempt_key": bindparam("p_attempt", type_=users.c.attempt_key.type),
        "attempt_token_hash": bindparam("p_hash", type_=users.c.attempt_token_hash.type),
        "attempt_token": bindparam("p_token", type_=users.c.attempt_token.type),
        "attempt_email": bindparam("p_email", type_=users.c.attempt_email.type),
        "attempt_started_at": now(),
        "attempt_sent_at": now(),
        "lease_holder": bindparam("p_attempt", type_=users.c.lease_holder.type),
        "lease_until": now() + bindparam("p_lease", type_=Float()),
    }
    by_partner = limits.refused(
        refusals.c.partner_id == bindparam("p_partner", type_=refusals.c.partner_id.type)
    )
    # By name: SQLAlchemy does not correlate subqueries of this clause, and would join all users.
    by_user = limits.refused(refusals.c.user_id == literal_column("users.id"))
    row = select(
        bindparam("p_issuer", type_=users.c.issuer_id.type),
        bindparam("p_subject", type_=users.c.subject.type),
        *attempt.values(),
    ).where(by_partner.scalar_subquery() < limits.per_partner)
    statement = insert(users).from_select(["issuer_id", "subject", *attempt], row)
    return statement.on_conflict_do_update(
        index_elements=["issuer_id", "subject"],
        set_={
            **{name: statement.excluded[name] for name in attempt},
            "attempt_customer_id": users.c.stripe_customer_id,
        },
        where=(
            users.c.attempt_id.is_(None)
            & users.c.token_hash.is_distinct_from(statement.excluded.attempt_token_hash)
            & (by_user.scalar_subquery() < limits.per_user)
        ),
    ).returning(
        users.c.id,
        users.c.attempt_customer_id,
        users.c.attempt_started_at,
        users.c.refusal.is_not(None).label("was_refused"),
    )
