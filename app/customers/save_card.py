"""The rule: one Stripe customer for each user, whatever happens in between.

A user's row is in one of three states, and `app.customers.attempts` has a statement for each arrow:

                 begin                    renew, anew
      settled ------------->  leased  <----------------.
         ^                   |  |  ^  `----------------'
         |   accept, refuse  |  |  |
         '-------------------'  |  | take_over
                       release, |  |
               the lease ends   v  |
                               open

settled: nothing is under way; what the row holds is true at Stripe.
leased: one process is at work on one attempt, until a time; nobody else touches it.
open: nobody knows what Stripe did. Whoever comes next, the user's next request or the completer,
      takes the attempt over and asks again.

Why that keeps the rule:

1. What is about to be done is committed before Stripe hears of it, with an idempotency key. So
   nothing can happen at Stripe that the row does not know of.
2. A row holds one attempt. So no second customer is asked for while the first may exist.
3. To ask again is to send the same key with the same parameters: Stripe executes it once at most.
   See https://docs.stripe.com/api/idempotent_requests.
4. A new key is made only where the old one is known not to have been executed: Stripe said so,
   or its list of customers, which is up to date, does not show our metadata, at a time when no
   call under the old key can be on its way any more.
5. Only a clear answer settles a row. All else leaves it open.
6. No transaction is open, and no connection to the database held, while Stripe is asked.
"""

import random
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from app.customers.attempts import Attempt, Attempts, LeaseLost, token_hash
from app.customers.refusal_limits import Limits
from app.customers.single_flight import Shared
from app.customers.user import User
from app.errors import (
    CallerIsGone,
    CardRefused,
    Misconfigured,
    ParameterRefused,
    StripeUnavailable,
    TestUser,
    TokenRefused,
    UpdateInProgress,
    UsersApiError,
)
from app.stripe_account.account import (
    CustomerGone,
    EmailRefused,
    KeyMismatch,
    OutcomeUnknown,
    StripeAccount,
)
from app.telemetry import trace

# Stripe may forget a key after 24 hours, and would then execute it as new.
KEY_LIFETIME = 23 * 3600.0
# How long a call may linger between us and Stripe after we have ceased to wait, in seconds.
CALL_LIFETIME = 120.0
# How far Stripe's clock and the database's may differ, in seconds.
CLOCK_SKEW = 120.0
# Pauses before the same call is sent again within one request, in seconds.
PAUSES = (0.3, 1.0)
# What is left of a request's time to write down what came of it and to answer, in seconds; of a
# short one the tenth part.
LAST_SECONDS = 0.5
# How often somebody who waits for a lease looks again, in seconds: at first, and at most.
FIRST_LOOK, LAST_LOOK = 0.02, 0.25


class FailureKept(Exception):
    """Raised when Stripe replays a failure: the key is spent, and nothing runs under it."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds: for one call to Stripe, and for a whole request."""

    call: float
    request: float


class Customers:
    """Turns card tokens into customers, exactly one for each user.

    Args:
        attempts: the users' rows.
        stripe: Coord's account.
        installation: tells our customers from another installation's on the same account.
        patience: how long to wait.
        limits: how many refused cards are borne.
    """

    def __init__(
        self,
        attempts: Attempts,
        stripe: StripeAccount,
        installation: str,
        patience: Patience,
        limits: Limits,
    ) -> None:
        self._attempts = attempts
        self._stripe = stripe
        self._installation = installation
        self._patience = patience
        self._limits = limits
        self._shared: Shared[str] = Shared()

    def save_card(self, user: User, token: str, request_id: str = "") -> str:
        """Make the token's card the default of the user's customer, which is made if need be.

        Args:
            user: whose card it is.
            token: `tok_...`, targeted at Coord's account.
            request_id: names the request in the customer's metadata at Stripe.

        Returns:
            The customer's id, durably stored.

        Raises:
            TestUser: Stripe must not hear of the user.
            CardRefused, TokenRefused: nothing changed.
            TooManyAttempts: Stripe was not asked.
            UpdateInProgress: others kept the row busy for as long as a request may take.
            StripeUnavailable, StorageUnavailable: unknown; the same request again converges.
            Misconfigured, ParameterRefused: Stripe refuses us, not the user.
        """
        if user.is_test:
            raise TestUser
        seconds = min(self._patience.request, trace.time_left(self._patience.request))
        deadline = time.monotonic() + seconds - min(LAST_SECONDS, seconds / 10)
        while True:
            try:
                return self._shared.answer(
                    (user.issuer_id, user.subject, token),
                    lambda: self._save_card(user, token, request_id, deadline),
                    deadline - time.monotonic(),
                )
            except TimeoutError:
                raise UpdateInProgress from None
            except CallerIsGone:
                # If it is another's caller, who shared the question: this one still waits.
                trace.current().require_caller()

    def _save_card(self, user: User, token: str, request_id: str, deadline: float) -> str:
        watched: str | None = None
        pause = FIRST_LOOK
        is_settled = True
        while time.monotonic() < deadline:
            if is_settled and (attempt := self._attempts.begin(user, token, request_id)):
                try:
                    return self.settle(attempt, user.partner_id, deadline)
                except LeaseLost:
                    watched = attempt.id
                except TokenRefused as refused:
                    if watched and attempt.customer_id and refused.code == "token_already_used":
                        # By the same request, for which this one waited; a newer card came since.
                        return attempt.customer_id
                    raise
            row = self._attempts.look(user)
            is_settled = row.attempt_id is None
            if is_settled:
                if row.token_hash == token_hash(token):
                    return str(row.stripe_customer_id)
                self._bear_in_mind(row, watched)
            elif row.is_leased:
                if row.attempt_token_hash == token_hash(token):
                    watched = row.attempt_id
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, LAST_LOOK)
            else:
                self._finish(row, token, user.partner_id, deadline)
        raise UpdateInProgress

    def _finish(self, row: Row[Any], token: str, partner_id: int, deadline: float) -> None:
        """Settle what was left open; only a refusal of this caller's own token is its business."""
        attempt = self._attempts.take_over(row.id, row.attempt_id)
        if attempt is None:
            return
        try:
            self.settle(attempt, partner_id, deadline)
        except LeaseLost:
            return
        except (CardRefused, TokenRefused, ParameterRefused):
            if attempt.token_hash == token_hash(token):
                raise

    def _bear_in_mind(self, row: Row[Any], watched: str | None) -> None:
        """Tell what a settled row says against trying: the same refusal, or too many of them."""
        if watched and row.refusal and row.refusal["attempt"] == watched:
            raise _refusal(row.refusal)
        self._limits.check(row)

    def complete(self, user_id: int, attempt_id: str, partner_id: int) -> str:
        """Finish what was left open, with no caller waiting.

        Args:
            user_id: whose row it is.
            attempt_id: as it was when it was found open.
            partner_id: against which a refused card counts.

        Returns:
            The customer's id, or `overtaken` where somebody else has it in hand.

        Raises:
            UsersApiError: as for `save_card`.
        """
        attempt = self._attempts.take_over(user_id, attempt_id)
        if attempt is None:
            return "overtaken"
        try:
            return self.settle(attempt, partner_id, time.monotonic() + self._patience.request)
        except LeaseLost:
            return "overtaken"

    def settle(self, attempt: Attempt, partner_id: int, deadline: float) -> str:
        """Take one leased attempt to its end, or leave it open.

        Args:
            attempt: leased by this process.
            partner_id: against which a refused card counts.
            deadline: by `time.monotonic`.

        Returns:
            The customer's id.

        Raises:
            LeaseLost: it took too long and another process has it.
            UsersApiError: as for `save_card`.
        """
        try:
            customer_id = self._outcome(attempt, deadline)
        except (CardRefused, TokenRefused, ParameterRefused) as refusal:
            counted = partner_id if isinstance(refusal, CardRefused) else None
            self._attempts.refuse(attempt, refusal, counted)
            raise
        except OutcomeUnknown as unknown:
            self._attempts.release(attempt)
            raise StripeUnavailable(inner=str(unknown)) from unknown
        except Misconfigured:
            self._attempts.release(attempt)
            raise
        self._attempts.accept(attempt, customer_id)
        return customer_id

    def _outcome(self, attempt: Attempt, deadline: float) -> str:
        """Find out for certain what became of an attempt, by asking or by looking.

        Each round but the last ends in parameters that are new, so four rounds are enough: the
        attempt as it stands, one without the e-mail, one without the customer, one after a look.
        """
        is_old = attempt.age > KEY_LIFETIME
        must_look = is_old or attempt.token is None
        is_quiet = attempt.silence > CALL_LIFETIME
        for _ in range(4):
            try:
                if must_look:
                    if found := self._look_up(attempt, deadline):
                        return found
                    if not is_quiet:
                        raise OutcomeUnknown("a call may still be on its way to Stripe")
                    attempt = self._start_anew(attempt, attempt.customer_id, attempt.email)
                    must_look = False
                elif attempt.silence:
                    attempt = self._attempts.renew(attempt)
                return self._ask(attempt, deadline)
            except KeyMismatch:
                # Stripe refuses all calls like this one, so it does not matter when the last was.
                must_look, is_quiet = True, attempt.age > CALL_LIFETIME
            except FailureKept:
                must_look = is_quiet = True
            except EmailRefused:
                attempt = self._start_anew(attempt, attempt.customer_id, None)
            except CustomerGone:
                self._make_sure_it_is_gone(attempt, deadline)
                attempt = self._start_anew(attempt, None, attempt.email)
        raise OutcomeUnknown("Stripe contradicts itself")

    def _start_anew(self, attempt: Attempt, customer_id: str | None, email: str | None) -> Attempt:
        """Make a new key, now that the old one is known not to have been executed."""
        if attempt.token is None:
            raise TokenRefused("The token could not be used. Make a new one.")
        return self._attempts.anew(attempt, customer_id, email)

    def _ask(self, attempt: Attempt, deadline: float) -> str:
        """Send the attempt, and again while there is time: same key, same parameters."""
        for pause in (*PAUSES, None):
            try:
                return self._send(attempt, deadline)
            except OutcomeUnknown as unknown:
                if unknown.is_kept:
                    raise FailureKept from unknown
                if pause is None or time.monotonic() + 2 * pause > deadline:
                    raise
            time.sleep(pause * random.uniform(0.5, 1))
            attempt = self._attempts.renew(attempt)
        raise AssertionError("unreachable")  # pragma: no cover - the last pause is None

    def _send(self, attempt: Attempt, deadline: float) -> str:
        assert attempt.token is not None
        metadata = {
            "coord_installation": self._installation,
            "coord_user": str(attempt.user_id),
            "coord_attempt": attempt.id,
            "coord_request": attempt.request_id,
        }
        timeout = self._time_for_a_call(deadline)
        if attempt.customer_id is None:
            return self._stripe.create_customer(
                source=attempt.token,
                email=attempt.email,
                metadata=metadata,
                idempotency_key=attempt.key,
                timeout=timeout,
            ).id
        return self._stripe.replace_source(
            attempt.customer_id,
            attempt.token,
            metadata,
            idempotency_key=attempt.key,
            timeout=timeout,
        ).id

    def _look_up(self, attempt: Attempt, deadline: float) -> str | None:
        """Look at Stripe for what the attempt did: its id is in the customer's metadata."""
        if attempt.customer_id is not None:
            customer = self._stripe.retrieve(
                attempt.customer_id, timeout=self._time_for_a_call(deadline)
            )
            return customer.id if customer.metadata.get("coord_attempt") == attempt.id else None
        created = self._stripe.created_between(
            attempt.started_at - CLOCK_SKEW,
            attempt.sent_at + CALL_LIFETIME + CLOCK_SKEW,
            timeout=self._time_for_a_call(deadline),
        )
        for customer in created:
            if customer.metadata.get("coord_attempt") == attempt.id:
                return customer.id
        return None

    def _make_sure_it_is_gone(self, attempt: Attempt, deadline: float) -> None:
        """A customer is replaced only where Stripe says twice that it is no more."""
        try:
            if attempt.customer_id is not None:
                self._stripe.retrieve(attempt.customer_id, timeout=self._time_for_a_call(deadline))
        except CustomerGone:
            return
        raise OutcomeUnknown("Stripe has the customer and has it not")

    def _time_for_a_call(self, deadline: float) -> float:
        left = min(self._patience.call, deadline - time.monotonic())
        if left <= 0:
            raise OutcomeUnknown("no time is left to ask Stripe")
        # When Stripe falls silent, hundreds would give up in the same moment.
        return left * random.uniform(0.9, 1)


def _refusal(told: dict[str, str]) -> UsersApiError:
    """Say again what was said to whoever sent the same token first."""
    if told["kind"] == CardRefused.__name__:
        return CardRefused(code=told["code"], decline_code=told["decline_code"])
    if told["kind"] == TokenRefused.__name__:
        return TokenRefused(code=told["code"])
    return ParameterRefused(inner="told to another request")
