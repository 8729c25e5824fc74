"""What follows from each answer of Stripe, until an attempt is settled or left open.

An attempt goes from move to move:

    Send      the call of its step, under its idempotency key
    LookUp    at Stripe for what an earlier call did, if sending cannot tell any more
    Advance   to the next step, which is committed before it is sent
    Restart   under a new key, if the old one was certainly not executed
    Saved     to the end

| answer                                      | move                                               |
| ------------------------------------------- | -------------------------------------------------- |
| success, with the marks of this attempt     | `Saved`, or `Advance` if a step is left            |
| the card, token or a parameter is refused   | refused: settled, nothing changed                  |
| the e-mail address is refused               | `Restart` without it                               |
| the customer was deleted (reading says so)  | `Restart` as for a new user; to forget it: `Saved` |
| the account never had the customer          | the wrong key: left open, an operator is told; to  |
|                                             | forget it with a test key: `Saved`                 |
| the key or a right is refused (401, 403),   | left open, an operator is told                     |
| or cards, or `source`, for the account      |                                                    |
| key used with other parameters              | `LookUp`; another version may have sent it         |
| a failure that Stripe keeps for the key     | `LookUp`; nothing runs under the key any more      |
| 400 without a code, at a PaymentMethod; or  | `LookUp`; unattached then means used up: refused   |
| SET_DEFAULT does not find it                |                                                    |
| no answer or another call's, 408, 409, 424, | `Send` again, twice at most (the completer: not at |
| 5xx, `lock_timeout`, `token_in_use`         | all); then as below                                |
| 429, or `Stripe-Should-Retry: false`        | left open; withdrawn if nothing was executed       |

The types and codes behind each line are in `app.stripe_account.readings`.

Once a PaymentMethod is attached only SET_DEFAULT may follow: then no refusal settles the row,
unless a look-up shows that the card is not attached.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from app.customers.attempt import Attempt
from app.customers.attempts import Attempts
from app.customers.calls import Advance, Calls, Saved
from app.customers.steps import Step
from app.customers.storing import store
from app.customers.timeouts import CALL_LIFETIME, KEY_LIFETIME
from app.errors import CardRefused, ParameterRefused, TokenRefused
from app.stripe_account.account import CustomerGone, EmailRefused, KeyMismatch, OutcomeUnknown
from app.stripe_account.outcomes import LookFirst, Retry

# Each restart changes a parameter that cannot change twice (the e-mail address, the customer), or
# follows a look-up, and an attempt has three steps at most. More moves mean that Stripe's answers
# contradict each other.
MOST_MOVES = 14
# While Stripe fails and keeps each failure, a request sends three calls, under three keys.
MOST_LOOK_UPS = 2


@dataclass(frozen=True)
class Send:
    """Send the call of the attempt's step."""


@dataclass(frozen=True)
class LookUp:
    """Look at Stripe for what an earlier call did.

    Attributes:
        is_quiet: whether no earlier call can still be on its way, so that "not executed" is final.
        is_refusal: whether Stripe refused the call in a way that "not executed" explains.
    """

    is_quiet: bool
    is_refusal: bool = False


@dataclass(frozen=True)
class Restart:
    """Send the call under a new key, with these parameters."""

    step: Step
    customer_id: str | None
    email: str | None


Move = Send | LookUp | Advance | Restart | Saved


class Settlement:
    """Brings one attempt to its end.

    Args:
        timeout: for one call, in seconds.
        deadline: by `time.monotonic`.
        pauses: between two calls, the second of which repeats the first, in seconds.
        unattended: seconds beyond the deadline that a look-up may take.

    Attributes:
        is_untouched: whether Stripe has certainly executed no call of this attempt.
    """

    def __init__(
        self,
        attempt: Attempt,
        attempts: Attempts,
        calls: Calls,
        timeout: float,
        deadline: float,
        pauses: tuple[float, ...],
        unattended: float = 0.0,
    ) -> None:
        self.attempt = attempt
        self.is_untouched = not attempt.is_taken_over
        self._attempts = attempts
        self._calls = calls
        self._timeout = timeout
        self._deadline = deadline
        self._pauses = pauses
        self._unattended = unattended
        # The lease has just begun: the row was claimed or taken over right before.
        self._is_lease_new = True
        self._look_ups_left = MOST_LOOK_UPS

    def run(self) -> Saved:
        """Move until the card is saved.

        Raises:
            CardRefused, TokenRefused, ParameterRefused: nothing changed; the row can be settled.
            Misconfigured, OutcomeUnknown: the row must stay open.
            LeaseLost: another process has taken over.
        """
        move = self._first_move()
        for _ in range(MOST_MOVES):
            match move:
                case Send():
                    move = self._send()
                case LookUp():
                    self.is_untouched = False
                    move = self._look_up(move)
                case Advance():
                    self.is_untouched = False
                    advanced = (move.step, move.customer_id, move.payment_method)
                    self._store(partial(self._attempts.advance, self.attempt, *advanced))
                    move = Send()
                case Restart():
                    changed = (move.step, move.customer_id, move.email)
                    self._store(partial(self._attempts.restart, self.attempt, *changed))
                    move = Send()
                case Saved():
                    return move
                case _:
                    assert_never(move)
        raise OutcomeUnknown("Stripe's answers contradict each other")

    def _first_move(self) -> Move:
        attempt = self.attempt
        is_old = attempt.age > KEY_LIFETIME and attempt.step is not Step.FORGET
        if is_old or not _has_card(attempt):
            return LookUp(is_quiet=attempt.silence > CALL_LIFETIME)
        if attempt.is_taken_over:
            self._store(partial(self._attempts.renew, self.attempt))
        return Send()

    def _send(self) -> Move:
        attempt = self.attempt
        try:
            return self._send_while_unknown()
        except EmailRefused:
            return Restart(attempt.step, attempt.customer_id, None)
        except CustomerGone:
            assert attempt.customer_id is not None
            self._calls.confirm_gone(attempt.customer_id, self._look)
            return self._restart_without_customer()
        except KeyMismatch:
            # All calls like this one are refused, so only their age counts, not the last of them.
            return LookUp(is_quiet=attempt.age > CALL_LIFETIME)
        except LookFirst:
            return LookUp(is_quiet=True, is_refusal=True)
        except OutcomeUnknown as unknown:
            if unknown.is_kept:
                return LookUp(is_quiet=True)
            raise
        except (CardRefused, TokenRefused, ParameterRefused) as refusal:
            if attempt.step is Step.SET_DEFAULT:
                raise OutcomeUnknown(f"the card is attached, but: {refusal}") from refusal
            raise

    def _send_while_unknown(self) -> Move:
        """Send the call, and again while its outcome is unknown: same key, same parameters."""
        for pause in self._pauses:
            try:
                return self._calls.send(self.attempt, self._next_call)
            except OutcomeUnknown as unknown:
                self._note(unknown)
                is_time_left = time.monotonic() + 2 * pause < self._deadline
                if unknown.is_kept or unknown.retry is Retry.LATER or not is_time_left:
                    raise
            time.sleep(pause * random.uniform(0.5, 1))
            self._store(partial(self._attempts.renew, self.attempt))
        try:
            return self._calls.send(self.attempt, self._next_call)
        except OutcomeUnknown as unknown:
            self._note(unknown)
            raise

    def _note(self, unknown: OutcomeUnknown) -> None:
        self.is_untouched = self.is_untouched and not unknown.maybe_executed

    def _look_up(self, move: LookUp) -> Move:
        attempt = self.attempt
        if not self._look_ups_left:
            raise OutcomeUnknown("Stripe fails, and keeps each failure")
        self._look_ups_left -= 1
        try:
            found = self._calls.look_up(attempt, self._look)
        except CustomerGone:
            return self._restart_without_customer()
        if found is not None:
            return found
        if move.is_refusal:
            if attempt.step is Step.SET_DEFAULT:
                self._calls.require_detached(attempt, self._look)
            raise TokenRefused
        if not move.is_quiet:
            raise OutcomeUnknown("a call may still be on its way to Stripe")
        if not _has_card(attempt):
            raise TokenRefused("The token could not be used. Make a new one.")
        return Restart(attempt.step, attempt.customer_id, attempt.email)

    def _restart_without_customer(self) -> Restart:
        if not _has_card(self.attempt):
            raise TokenRefused("The token could not be used. Make a new one.")
        is_attached = self.attempt.step in (Step.ATTACH, Step.SET_DEFAULT)
        return Restart(Step.CREATE if is_attached else self.attempt.step, None, self.attempt.email)

    def _store(self, transition: Callable[[], Attempt]) -> None:
        self.attempt = store(transition, self._deadline)
        self._is_lease_new = True

    def _next_call(self) -> float:
        """Return the seconds for one more call, which the lease outlasts."""
        return self._time_for_a_call(self._deadline)

    def _look(self) -> float:
        """Return the seconds for one more call of a look-up.

        A page of Stripe's list is a call, so without a caller that waits it may take longer.
        """
        return self._time_for_a_call(self._deadline + self._unattended)

    def _time_for_a_call(self, deadline: float) -> float:
        if not self._is_lease_new and time.monotonic() < deadline:
            self._store(partial(self._attempts.extend, self.attempt))
        left = min(self._timeout, deadline - time.monotonic())
        if left <= 0:
            raise OutcomeUnknown("no time is left to call Stripe", maybe_executed=False)
        self._is_lease_new = False
        # If Stripe stops answering, hundreds of calls would end in the same moment.
        return left * random.uniform(0.9, 1)


def _has_card(attempt: Attempt) -> bool:
    """Whether the call of the step can be sent; a token may have been encrypted by another key."""
    if attempt.step in (Step.SOURCE, Step.MAKE_PM):
        return attempt.token is not None
    return attempt.payment_method is not None or attempt.step is Step.FORGET
