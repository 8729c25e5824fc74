"""Settled -> leased: the one statement by which a request gets its user's row, or makes it."""

from typing import Any

from app.customers import statements
from app.customers.attempt import Attempt, token_hash
from app.customers.refusal_limits import RefusalLimits
from app.customers.steps import PAYMENT_METHOD_PREFIX, Cards, Step, first_steps
from app.customers.user import User
from app.storage.database import Database
from app.storage.driver import DriverTransaction
from app.storage.prepared import Prepared
from app.telemetry import trace


class _LimitReached(Exception):
    """A user has had too many cards refused."""


class Claim:
    """Claims rows. `Attempts.claim` repeats it if the outcome of its commit is unknown.

    Args:
        lease: in seconds.
    """

    def __init__(
        self, database: Database, limits: RefusalLimits, lease: float, cards: Cards
    ) -> None:
        self._database = database
        self._limits = limits
        self._lease = lease
        self._cards = cards
        dialect = database.engine.dialect
        self._claim = Prepared(statements.claim(dialect, limits), dialect)
        self._refused = Prepared(statements.refused_of_user(limits), dialect)

    def once(
        self,
        user: User,
        user_hash: bytes,
        token: str,
        encrypted: bytes,
        request_id: str,
        attempt_id: str,
    ) -> Attempt | None:
        """Claim a user's row, or return None as `Attempts.claim` does."""
        hashed = token_hash(token)
        steps = first_steps(token, self._cards)
        payment_method = token if token.startswith(PAYMENT_METHOD_PREFIX) else None
        values = {
            "p_user": user_hash,
            "p_issuer": user.issuer_id,
            "p_partner": user.partner_id,
            "p_subject": user.subject,
            "p_attempt": attempt_id,
            "p_request": request_id,
            "p_hash": hashed,
            "p_token": encrypted,
            "p_email": user.email,
            "p_step": steps.of_new_user.value,
            "p_step_of_customer": steps.of_customer.value,
            "p_step_of_pm_customer": steps.of_pm_customer.value,
            "p_payment_method": payment_method,
            "p_lease": self._lease,
        }

        def claim(transaction: DriverTransaction) -> tuple[Any, ...] | None:
            # On a busy day most of the waiting is for this transaction.
            trace.current().require_caller()
            row = transaction.row(self._claim, values)
            if row is not None and row[-1] is not None:
                self._require_below_limit(transaction, row[0])
            return row

        try:
            row = self._database.transact(claim)
        except _LimitReached:
            return None
        if row is None:
            return None
        user_id, customer_id, started_at, step, _refusal = row
        return Attempt(
            id=attempt_id,
            user_id=user_id,
            user_hash=user_hash,
            request_id=request_id,
            key=attempt_id,
            token=token,
            token_hash=hashed,
            customer_id=customer_id,
            email=user.email,
            step=Step(step),
            payment_method=payment_method,
            holder=attempt_id,
            age=0.0,
            silence=0.0,
            started_at=started_at,
            sent_at=started_at,
            is_taken_over=False,
        )

    def _require_below_limit(self, transaction: DriverTransaction, user_id: int) -> None:
        """Count a user's refused cards once more, now that the row is locked.

        A statement of PostgreSQL that had to wait for the row continues with the row's latest
        version, but counts what there was when it began: not the refusal that it waited for
        (https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED). Only a
        refusal can reach the limit, so a user who was not refused last is not counted again.
        """
        (number,) = transaction.row(self._refused, {"p_user": user_id}) or (0,)
        if number >= self._limits.per_user:
            raise _LimitReached
