"""Each arrow between the states of a user's row, as one guarded statement.

`app.customers.save_card` says when each is taken. All compare before they set, so that of two
processes that want the same row, one gets it and the other is told; all times are the database's.
"""

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Update

from app.customers import statements
from app.customers.refusal_limits import Limits
from app.customers.token_cipher import Seal, Unreadable
from app.customers.user import User
from app.errors import UsersApiError
from app.storage.database import Database
from app.storage.prepared import Prepared
from app.telemetry import trace


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
        dialect = database.engine.dialect
        self._begin = Prepared(statements.begin(dialect, limits), dialect)
        self._accept = Prepared(statements.ACCEPT, dialect)
        self._look = statements.look(limits)
        self._refused = statements.refused_of_user(limits)

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
        with self._database.reading() as connection:
            return list(connection.execute(statements.ABANDONED, {"p_most": most}))

    def open_ones(self) -> tuple[int, float]:
        """Tell how many attempts are not settled, and the age of the oldest in seconds."""
        with self._database.reading() as connection:
            number, age = connection.execute(statements.OPEN_ONES).one()
        return number, age

    def forget_old_refusals(self) -> None:
        """Delete the refused cards that no window reaches any more."""
        with self._database.writing() as connection:
            connection.execute(statements.FORGET_REFUSALS, {"p_window": self._limits.window})

    def take_over(self, user_id: int, attempt_id: str) -> Attempt | None:
        """Open -> leased; None where somebody was faster."""
        values = {
            "m_user": user_id,
            "m_attempt": attempt_id,
            "m_holder": uuid.uuid4().hex,
            "p_lease": self._lease,
        }
        with self._database.writing() as connection:
            row = connection.execute(statements.TAKE_OVER, values).one_or_none()
        return None if row is None else self._attempt(row)

    def renew(self, attempt: Attempt) -> Attempt:
        """Leased -> leased, before a call is sent that was or may have been sent before.

        Raises:
            LeaseLost: another process has taken over.
        """
        return self._change(statements.RENEW, attempt, {})

    def anew(self, attempt: Attempt, customer_id: str | None, email: str | None) -> Attempt:
        """Leased -> leased with other parameters, hence with a new idempotency key.

        Taken only where Stripe is known not to have executed the old ones.

        Raises:
            LeaseLost: another process has taken over.
        """
        changed = {"p_key": uuid.uuid4().hex, "p_customer": customer_id, "p_email": email}
        return self._change(statements.ANEW, attempt, changed)

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
            if connection.execute(statements.REFUSE, values).rowcount != 1:
                raise LeaseLost
            if partner_id is not None:
                refused = {"user_id": attempt.user_id, "partner_id": partner_id}
                connection.execute(statements.COUNT_REFUSAL, refused)

    def release(self, attempt: Attempt) -> None:
        """Leased -> open, at once: the outcome is unknown and whoever comes next asks again."""
        with self._database.writing() as connection:
            connection.execute(statements.RELEASE, _mine(attempt))

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
    """Give the values that `statements.OURS` compares."""
    return {"m_user": attempt.user_id, "m_attempt": attempt.id, "m_holder": attempt.holder}
