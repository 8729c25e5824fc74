"""The rule: one Stripe customer for each user, whatever happens in between.

A user's row is in one of three states, and `app.customers.attempts` has a statement for each
transition:

            claim,
            claim_to_forget           renew, extend, advance, restart
      settled ------------->  leased  <--------------------.
         ^                   |  |  ^  `--------------------'
         |  accept, refuse,  |  |  |
         |  withdraw         |  |  | take_over
         '-------------------'  |  |
                       release, |  |
               the lease ends   v  |
                               open

       no row ----claim---->  leased  ----erase---->  no row

settled: nothing is in progress; what the row says is true at Stripe.
leased: one process works on one attempt, until a time; no other process touches it. `claim` begins
        an attempt to save a card, and makes the row of a new user. `claim_to_forget` begins one to
        forget the user, and `erase` ends it in the place of `accept`: it deletes the row.
open: only Stripe knows the outcome. The next process, for the user's next request or as the
      completer, takes the attempt over and asks again.

Why that keeps the rule:

1. What is about to be done is committed before Stripe is called, with an idempotency key. So
   nothing can happen at Stripe that the row does not know of.
2. A row holds one attempt. So no second customer is asked for while the first may exist.
3. To ask again is to send the same key with the same parameters: Stripe executes it at most once.
   See https://docs.stripe.com/api/idempotent_requests.
4. A new key is made only if the old one is known not to have been executed: Stripe said so, or
   what Stripe has now does not show it, at a time when no call under the old key can still be on
   its way.
5. A row is settled only by a clear answer that has the marks of this attempt, or if Stripe is
   known to have executed no call of it (`withdraw`). Everything else leaves the row open.
6. No transaction is open, and no connection to the database held, while Stripe is asked.

`Customers.save_card` waits for the row, `app.customers.settle` has a table of what follows from
each answer of Stripe, and `Customers.settle` stores what came of it.
"""

import random
import time
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Row

from app.customers.attempt import Attempt, CustomerTaken, LeaseLost, recorded_refusal, token_hash
from app.customers.attempts import Attempts
from app.customers.calls import Calls, Saved
from app.customers.refusal_limits import RefusalLimits
from app.customers.settle import Settlement
from app.customers.single_flight import AsOf, SingleFlight
from app.customers.steps import Step
from app.customers.storing import store
from app.customers.timeouts import (
    FIRST_POLL,
    LAST_POLL,
    LAST_SECONDS,
    RETRY_PAUSES,
    UNATTENDED,
    Timeouts,
)
from app.customers.user import User
from app.errors import (
    CallerIsGone,
    CardRefused,
    Misconfigured,
    ParameterRefused,
    StorageUnavailable,
    StripeUnavailable,
    TestUser,
    TokenRefused,
    UpdateInProgress,
)
from app.stripe_account.account import OutcomeUnknown
from app.telemetry import trace

log = structlog.get_logger()

Refusal = (CardRefused, TokenRefused, ParameterRefused)


class Customers:
    """Turns card tokens into customers, exactly one for each user."""

    def __init__(
        self,
        attempts: Attempts,
        calls: Calls,
        timeouts: Timeouts,
        limits: RefusalLimits,
    ) -> None:
        self._attempts = attempts
        self._calls = calls
        self._timeouts = timeouts
        self._limits = limits
        self._in_flight: SingleFlight[str] = SingleFlight()

    def save_card(self, user: User, token: str, request_id: str = "") -> str:
        """Make the card the default of the user's customer, which is created if there is none.

        Args:
            token: `tok_...` or `pm_...`, targeted at Coord's account.

        Returns:
            The customer's id, durably stored.

        Raises:
            TestUser: Stripe must not be called for the user.
            CardRefused, TokenRefused: nothing changed.
            TooManyAttempts: Stripe was not called.
            UpdateInProgress: other requests kept the row busy for the whole time of this one.
            StripeUnavailable, StorageUnavailable: unknown; the same request, sent again, converges.
            Misconfigured, ParameterRefused: Stripe refuses the service, not the user.
        """
        if user.is_test:
            raise TestUser
        seconds = min(self._timeouts.request, trace.time_left(self._timeouts.request))
        deadline = time.monotonic() + seconds - min(LAST_SECONDS, seconds / 10)
        while True:
            try:
                return self._in_flight.run(
                    (user.partner_id, user.issuer_id, user.subject, token),
                    lambda: self._save_card(user, token, request_id, deadline),
                    deadline - time.monotonic(),
                )
            except TimeoutError:
                raise UpdateInProgress from None
            except CallerIsGone:
                # Raised too if it was the first of several identical requests that hung up.
                trace.current().require_caller()

    def _save_card(self, user: User, token: str, request_id: str, deadline: float) -> AsOf[str]:
        watched: str | None = None
        in_progress = 0.0  # when the watched attempt was seen so the last time
        pause = FIRST_POLL
        is_settled = True
        while time.monotonic() < deadline:
            if is_settled and (attempt := self._attempts.claim(user, token, request_id, deadline)):
                trace.current().user = attempt.user_id
                in_progress = time.monotonic()
                try:
                    return self.settle(attempt, user.partner_id, deadline)
                except LeaseLost:
                    watched = attempt.id
            looked = time.monotonic()
            row = self._attempts.get(user)
            trace.current().user = row.id
            if customer_id := self._accepted_before(row, watched):
                return AsOf(customer_id, in_progress)
            is_settled = row.attempt_id is None
            if is_settled:
                if customer_id := self._saved_before(row, token, watched):
                    return AsOf(customer_id, looked)
                continue
            if row.attempt_token_hash == token_hash(token):
                watched, in_progress = row.attempt_id, looked
            if row.is_leased:
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, LAST_POLL)
            else:
                self._finish(row, token, user.partner_id, deadline)
        raise UpdateInProgress

    def _finish(self, row: Row[Any], token: str, partner_id: int, deadline: float) -> None:
        """Settle an open attempt; only a refusal of this caller's own token concerns the caller."""
        attempt = self._attempts.take_over(row.id, row.attempt_id, deadline)
        if attempt is None:
            return
        try:
            self.settle(attempt, partner_id, deadline)
        except LeaseLost:
            return
        except Refusal:
            if attempt.token_hash == token_hash(token):
                raise

    def _accepted_before(self, row: Row[Any], watched: str | None) -> str | None:
        """Return the customer's id if the attempt that this request waited for succeeded.

        Another card may have been saved since, or may be in progress.
        """
        if watched is None or watched not in (row.accepted_attempts or ""):
            return None
        return self._attempts.confirm_accepted(row.id, watched)

    def _saved_before(self, row: Row[Any], token: str, watched: str | None) -> str | None:
        """Return the customer's id if a settled row holds this very card.

        Raises:
            CardRefused, TokenRefused, ParameterRefused: the row records it for the same attempt.
            TooManyAttempts: a rate limit is reached.
        """
        if row.token_hash == token_hash(token):
            return self._attempts.confirm(row.id, token)
        if watched and row.refusal and row.refusal["attempt"] == watched:
            raise recorded_refusal(row.refusal)
        if row.replaced_payment_method_id == token:
            # It is being detached, and fits no customer any more.
            raise TokenRefused(code="token_already_used")
        self._limits.check(row)
        return None

    def complete(self, user_id: int, attempt_id: str, partner_id: int | None) -> str:
        """Finish an open attempt for which no caller waits.

        Stripe is called once for each step: what fails is tried again later.

        Args:
            attempt_id: as it was when it was found open.
            partner_id: against which a refused card counts; None if the row has no registration.

        Returns:
            The customer's id, `forgotten`, or `overtaken` if another process has the attempt.

        Raises:
            UsersApiError: as for `save_card`.
        """
        deadline = time.monotonic() + self._timeouts.request
        attempt = self._attempts.take_over(user_id, attempt_id, deadline)
        if attempt is None:
            return "overtaken"
        try:
            settled = self.settle(attempt, partner_id, deadline, pauses=(), unattended=UNATTENDED)
        except LeaseLost:
            return "overtaken"
        return settled.result

    def settle(
        self,
        attempt: Attempt,
        partner_id: int | None,
        deadline: float,
        pauses: tuple[float, ...] = RETRY_PAUSES,
        unattended: float = 0.0,
    ) -> AsOf[str]:
        """Bring one leased attempt to its end and store the outcome, or leave it open.

        Args:
            partner_id: against which a refused card counts.
            deadline: by `time.monotonic`.
            pauses: between calls that are sent again.
            unattended: seconds beyond the deadline that a look-up may take.

        Returns:
            The customer's id, or `forgotten`, and a time at which the attempt was in progress.

        Raises:
            LeaseLost: it took too long, and another process has it.
            UsersApiError: as for `save_card`.
        """
        settlement = Settlement(
            attempt,
            self._attempts,
            self._calls,
            self._timeouts.call,
            deadline,
            pauses,
            unattended,
        )
        try:
            saved = settlement.run()
            in_progress = time.monotonic()
        except Refusal as refusal:
            counted = partner_id if isinstance(refusal, CardRefused) else None
            store(partial(self._attempts.refuse, settlement.attempt, refusal, counted), deadline)
            raise
        except OutcomeUnknown as unknown:
            end = self._attempts.withdraw if settlement.is_untouched else self._attempts.release
            store(partial(end, settlement.attempt), deadline)
            raise StripeUnavailable(
                inner=str(unknown), retry_after=unknown.retry_after
            ) from unknown
        except (Misconfigured, StorageUnavailable):
            store(partial(self._attempts.release, settlement.attempt), deadline)
            raise
        if attempt.step is Step.FORGET:
            store(partial(self._attempts.erase, settlement.attempt), deadline)
            return AsOf("forgotten", in_progress)
        self._accept(settlement.attempt, saved, deadline)
        return AsOf(saved.customer_id, in_progress)

    def _accept(self, attempt: Attempt, saved: Saved, deadline: float) -> None:
        accept = partial(
            self._attempts.accept, attempt, saved.customer_id, has_default_pm=saved.has_default_pm
        )
        try:
            store(accept, deadline)
        except CustomerTaken as taken:
            # Never an answer: the row stays open, and an operator is told.
            log.error("customer belongs to another user", user=attempt.user_id, customer=str(taken))
            self._attempts.release(attempt)
            raise StripeUnavailable(inner="another user's row holds the customer") from taken
