"""The transitions of a user's row, each as one guarded statement.

`app.customers.save_card` says when each is taken. All of them compare before they set, so of two
processes that want the same row, one gets it and the other learns so. All times are the database's.
"""

import secrets
from functools import partial
from typing import Any

from sqlalchemy import Row, Select, Update
from sqlalchemy.exc import IntegrityError

from app.customers import statements
from app.customers.attempt import (
    Attempt,
    CustomerTaken,
    LeaseLost,
    attempt_from,
    cipher_context,
    token_hash,
)
from app.customers.claim import Claim
from app.customers.refusal_limits import RefusalLimits
from app.customers.steps import PAYMENT_METHOD, PAYMENT_METHOD_PREFIX, Cards, Step
from app.customers.storing import lease
from app.customers.token_cipher import TokenCipher
from app.customers.unnamed_rows import name_rows_of_the_version_before
from app.customers.user import User, user_hash
from app.errors import UsersApiError
from app.storage.database import Database
from app.storage.driver import DriverTransaction
from app.storage.prepared import Prepared

# In the place of a token: long enough to be decrypted, by no secret. The version before expects
# one in each open attempt.
NO_TOKEN = bytes(28)


class Attempts:
    """The rows of `users` and their one open attempt.

    A transition of a leased row raises `LeaseLost` if another process has taken over, which then
    ends the attempt in the same way; `withdraw` and `release` change nothing instead.

    Args:
        lease: seconds for which a process may work on an attempt before others take it over.
    """

    def __init__(
        self,
        database: Database,
        cipher: TokenCipher,
        lease: float,
        limits: RefusalLimits,
        installation: str,
        cards: Cards = "source",
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._lease = lease
        self._installation = installation
        self._claim = Claim(database, limits, lease, cards)
        self._accept = Prepared(statements.ACCEPT, database.engine.dialect)
        self._get = statements.get(limits)

    def hash_of(self, user: User) -> bytes:
        """Return the hash that names a user."""
        return user_hash(self._installation, user.partner, user.issuer, user.subject)

    def claim(
        self, user: User, token: str, request_id: str = "", deadline: float = 0.0
    ) -> Attempt | None:
        """Settled -> leased; creates the row of a new user.

        Args:
            deadline: by `time.monotonic`; until then it is repeated if its outcome is unknown.

        Returns:
            None if the row is not settled, or was settled with this very token, or a limit is
            reached; `get` shows which.

        Raises:
            CallerIsGone: the caller hung up while it waited for the database.
        """
        attempt_id = secrets.token_hex(16)
        encrypted = self._cipher.encrypt(token, cipher_context(attempt_id))
        named = self.hash_of(user)
        once = partial(self._claim.once, user, named, token, encrypted, request_id, attempt_id)
        try:
            return lease(once, deadline)
        except UsersApiError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            # The version before has made the row, without a hash, after the migration.
            name_rows_of_the_version_before(self._database, self._installation)
            return lease(once, deadline)

    def get(self, user: User) -> Row[Any]:
        """Return a user's row as it is, NULL for a new user, with what the limits' check needs."""
        values = {"p_user": self.hash_of(user), "p_partner": user.partner_id}
        with self._database.reading() as connection:
            return connection.execute(self._get, values).one()

    def get_by_id(self, user_id: int) -> Row[Any] | None:
        """Return a row as it is, or None if it is not there any more."""
        with self._database.reading() as connection:
            return connection.execute(statements.GET_BY_ID, {"m_user": user_id}).one_or_none()

    def confirm(self, user_id: int, token: str) -> str | None:
        """Make sure that what a settled row shows is durable, which a mere read does not.

        If PostgreSQL has a synchronous standby, a commit that never reached it can be read all the
        same: after its wait was cancelled, and after a crash. This transaction locks the row and
        commits, so it waits for the standby to have all that comes before.

        Returns:
            The customer's id; None if the row is not settled with this token any more.
        """
        return self._confirm(statements.CONFIRM, user_id, {"m_hash": token_hash(token)})

    def confirm_accepted(self, user_id: int, attempt_id: str) -> str | None:
        """Make sure, as `confirm` does, that an attempt succeeded, whatever came after it.

        Returns:
            The user's customer; None if the row does not show that it succeeded.
        """
        return self._confirm(statements.CONFIRM_ACCEPTED, user_id, {"m_attempt": attempt_id})

    def take_over(self, user_id: int, attempt_id: str, deadline: float = 0.0) -> Attempt | None:
        """Open -> leased; None if another process was faster.

        Args:
            attempt_id: as it was when it was found open.
            deadline: by `time.monotonic`; until then it is repeated if its outcome is unknown.
        """
        values = {
            "m_user": user_id,
            "m_attempt": attempt_id,
            "m_holder": secrets.token_hex(16),
            "p_lease": self._lease,
        }

        def once() -> Row[Any] | None:
            with self._database.writing() as connection:
                return connection.execute(statements.TAKE_OVER, values).one_or_none()

        row = lease(once, deadline)
        return None if row is None else attempt_from(row, self._cipher)

    def claim_to_forget(self, user_id: int) -> Attempt | None:
        """Settled -> leased, to forget the user; None if the row is not settled or not there."""
        values = {
            "m_user": user_id,
            "p_attempt": secrets.token_hex(16),
            "p_no_token": NO_TOKEN,
            "p_step": Step.FORGET,
            "p_lease": self._lease,
        }
        with self._database.writing() as connection:
            row = connection.execute(statements.CLAIM_TO_FORGET, values).one_or_none()
        return None if row is None else attempt_from(row, self._cipher)

    def renew(self, attempt: Attempt) -> Attempt:
        """Leased -> leased, before a call is sent that may have been sent before."""
        return self._change(statements.RENEW, attempt, {})

    def extend(self, attempt: Attempt) -> Attempt:
        """Leased -> leased, before one more call that only reads."""
        with self._database.writing() as connection:
            values = {**_held(attempt), "p_lease": self._lease}
            if connection.execute(statements.EXTEND, values).rowcount != 1:
                raise LeaseLost
        return attempt

    def advance(
        self, attempt: Attempt, step: Step, customer_id: str | None, payment_method: str | None
    ) -> Attempt:
        """Leased -> leased at the next step, before its call is sent."""
        changed = {
            "p_customer": customer_id,
            "p_step": step,
            "p_payment_method": payment_method,
        }
        return self._change(statements.ADVANCE, attempt, changed)

    def restart(
        self, attempt: Attempt, step: Step, customer_id: str | None, email: str | None
    ) -> Attempt:
        """Leased -> leased with other parameters, hence with a new idempotency key.

        Taken only if Stripe is known not to have executed the call under the old key.
        """
        changed = {
            "p_key": secrets.token_hex(16),
            "p_customer": customer_id,
            "p_email": email,
            "p_step": step,
            "p_payment_method": attempt.payment_method,
        }
        return self._change(statements.RESTART, attempt, changed)

    def accept(self, attempt: Attempt, customer_id: str, *, has_default_pm: bool) -> None:
        """Leased -> settled: the customer is the user's, and the token the latest.

        Raises:
            CustomerTaken: another user's row holds the customer.
        """
        made = attempt.payment_method or ""
        values = {
            **_held(attempt),
            "stripe_customer_id": customer_id,
            "token_hash": attempt.token_hash,
            "default_kind": PAYMENT_METHOD if has_default_pm else None,
            "payment_method_id": made if made.startswith(PAYMENT_METHOD_PREFIX) else None,
        }
        try:
            self._database.transact(partial(self._accept_once, values))
        except UsersApiError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise CustomerTaken(customer_id) from error
            raise

    def refuse(self, attempt: Attempt, error: UsersApiError, partner_id: int | None) -> None:
        """Leased -> settled, with nothing changed but the record of the refusal.

        Args:
            error: what the caller is answered; requests that wait for this attempt get the same.
            partner_id: counts the refusal against the user and this partner; None to count none.
        """
        refusal = {
            "attempt": attempt.id,
            "kind": type(error).__name__,
            "code": error.code,
            "decline_code": getattr(error, "decline_code", None),
        }
        with self._database.writing() as connection:
            values = {**_held(attempt), "p_refusal": refusal}
            if connection.execute(statements.REFUSE, values).rowcount != 1:
                raise LeaseLost
            if partner_id is not None:
                refused = {"user_id": attempt.user_id, "partner_id": partner_id}
                connection.execute(statements.COUNT_REFUSAL, refused)

    def withdraw(self, attempt: Attempt) -> None:
        """Leased -> settled, with nothing changed: Stripe has executed no call of this attempt."""
        with self._database.writing() as connection:
            connection.execute(statements.WITHDRAW, _held(attempt))

    def release(self, attempt: Attempt) -> None:
        """Leased -> open, at once: the outcome is unknown, and the next process asks again."""
        with self._database.writing() as connection:
            connection.execute(statements.RELEASE, _held(attempt))

    def erase(self, attempt: Attempt) -> None:
        """Leased -> no row: all that is stored of the user is deleted."""
        with self._database.writing() as connection:
            connection.execute(statements.DELETE_REFUSALS, _held(attempt))
            if connection.execute(statements.DELETE_USER, _held(attempt)).rowcount != 1:
                raise LeaseLost

    def _accept_once(self, values: dict[str, Any], transaction: DriverTransaction) -> None:
        if transaction.changed(self._accept, values) != 1:
            raise LeaseLost

    def _confirm(self, statement: Select[Any], user_id: int, values: dict[str, Any]) -> str | None:
        with self._database.writing() as connection:
            found: str | None = connection.execute(
                statement, {"m_user": user_id, **values}
            ).scalar_one_or_none()
        return found

    def _change(self, statement: Update, attempt: Attempt, values: dict[str, Any]) -> Attempt:
        values = {**values, **_held(attempt), "p_lease": self._lease}
        with self._database.writing() as connection:
            row = connection.execute(statement, values).one_or_none()
        if row is None:
            raise LeaseLost
        return attempt_from(row, self._cipher)


def _held(attempt: Attempt) -> dict[str, Any]:
    """Return the values that `statements.HELD` compares."""
    return {"m_user": attempt.user_id, "m_attempt": attempt.id, "m_holder": attempt.holder}
