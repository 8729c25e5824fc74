"""The call of each step, and how to find out at Stripe what an earlier call of it did."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from app.customers.attempt import Attempt
from app.customers.steps import Step
from app.customers.timeouts import CALL_LIFETIME, CLOCK_SKEW
from app.errors import TokenRefused
from app.stripe_account.account import (
    Customer,
    CustomerGone,
    CustomerUnknown,
    OutcomeUnknown,
    StripeAccount,
)

# Returns the seconds for one more call; called right before each.
NextCall = Callable[[], float]


@dataclass(frozen=True)
class Saved:
    """The card is the customer's default, or the customer is deleted: nothing is left to be done.

    Attributes:
        customer_id: the user's customer; empty if the user had none to be deleted.
        has_default_pm: whether its default is a PaymentMethod.
    """

    customer_id: str
    has_default_pm: bool = False


@dataclass(frozen=True)
class Advance:
    """A step succeeded; these are the next one and its parameters."""

    step: Step
    customer_id: str | None
    payment_method: str | None


class Calls:
    """Sends the call of a step, or looks up what it did.

    Some of that takes several calls, so each method takes `next_call`. It makes sure that the lease
    outlasts one more call, and raises `OutcomeUnknown` if no time is left, or `LeaseLost`.
    """

    def __init__(self, stripe: StripeAccount, installation: str, *, is_live: bool) -> None:
        self._stripe = stripe
        self._installation = installation
        self._is_live = is_live

    def marks(self, attempt: Attempt) -> dict[str, str]:
        """Return the metadata by which a customer is recognised as this attempt's.

        The same for the same idempotency key, else Stripe refuses the key.
        """
        return {
            "coord_installation": self._installation,
            "coord_user": attempt.user_hash.hex(),
            "coord_attempt": attempt.id,
            "coord_request": attempt.request_id,
            "coord_started": str(int(attempt.started_at)),
        }

    def send(self, attempt: Attempt, next_call: NextCall) -> Saved | Advance:
        """Send the call of the attempt's step, once.

        Raises:
            CardRefused, TokenRefused, EmailRefused, ParameterRefused: nothing was executed.
            Misconfigured: Stripe refuses the service.
            CustomerGone: Stripe did not find the attempt's customer.
            KeyMismatch, OutcomeUnknown: only a look-up tells.
        """
        match attempt.step:
            case Step.SOURCE:
                return self._send_source(attempt, next_call)
            case Step.MAKE_PM:
                return self._send_token(attempt, next_call)
            case Step.CREATE:
                made = self._stripe.create_customer(
                    payment_method=_card(attempt),
                    email=attempt.email,
                    metadata=self.marks(attempt),
                    idempotency_key=attempt.step_key,
                    timeout=next_call(),
                )
                return Saved(made.id, has_default_pm=True)
            case Step.ATTACH:
                self._stripe.attach(
                    _card(attempt),
                    _customer(attempt),
                    idempotency_key=attempt.step_key,
                    timeout=next_call(),
                )
                return Advance(Step.SET_DEFAULT, attempt.customer_id, attempt.payment_method)
            case Step.SET_DEFAULT:
                self._stripe.set_default(
                    _customer(attempt),
                    _card(attempt),
                    self.marks(attempt),
                    idempotency_key=attempt.step_key,
                    timeout=next_call(),
                )
                return Saved(_customer(attempt), has_default_pm=True)
            case Step.FORGET:
                return self._delete(attempt, next_call)
            case _:
                assert_never(attempt.step)

    def look_up(self, attempt: Attempt, next_call: NextCall) -> Saved | Advance | None:
        """Find out what an earlier call of the attempt's step did.

        Returns:
            What follows from it; None if it was not executed.

        Raises:
            TokenRefused: the card is lost: it is used up, or another customer has it.
            CustomerGone: the attempt's customer was deleted.
            Misconfigured, OutcomeUnknown: it was not found out.
        """
        match attempt.step:
            case Step.SOURCE:
                return self._look_for_customer(attempt, next_call)
            case Step.MAKE_PM:
                self._require_unused_token(attempt, next_call)
                return None
            case Step.CREATE | Step.ATTACH:
                return self._look_at_payment_method(attempt, next_call)
            case Step.SET_DEFAULT:
                return self._look_at_default(attempt, next_call)
            case Step.FORGET:
                return None
            case _:
                assert_never(attempt.step)

    def confirm_gone(self, customer_id: str, next_call: NextCall) -> None:
        """Make sure that a customer was deleted, which only reading it tells.

        Raises:
            CustomerUnknown: the account never had it.
            OutcomeUnknown: it was not deleted.
        """
        try:
            self._stripe.retrieve(customer_id, timeout=next_call())
        except CustomerGone:
            return
        raise OutcomeUnknown("Stripe does not find the customer for a call, but returns it")

    def _send_source(self, attempt: Attempt, next_call: NextCall) -> Saved | Advance:
        assert attempt.token is not None
        if attempt.customer_id is None:
            customer = self._stripe.create_customer(
                source=attempt.token,
                email=attempt.email,
                metadata=self.marks(attempt),
                idempotency_key=attempt.step_key,
                timeout=next_call(),
            )
        else:
            customer = self._stripe.replace_source(
                attempt.customer_id,
                attempt.token,
                self.marks(attempt),
                idempotency_key=attempt.step_key,
                timeout=next_call(),
            )
        return _after_source(customer)

    def _send_token(self, attempt: Attempt, next_call: NextCall) -> Advance:
        assert attempt.token is not None
        made = self._stripe.create_payment_method(
            attempt.token,
            self.marks(attempt),
            idempotency_key=attempt.step_key,
            timeout=next_call(),
        )
        next_step = Step.CREATE if attempt.customer_id is None else Step.ATTACH
        return Advance(next_step, attempt.customer_id, made.id)

    def _delete(self, attempt: Attempt, next_call: NextCall) -> Saved:
        if attempt.customer_id is None:
            return Saved("")
        try:
            self._stripe.delete(attempt.customer_id, timeout=next_call())
        except CustomerGone:
            try:
                self.confirm_gone(attempt.customer_id, next_call)
            except CustomerUnknown:
                # In test mode the account's data may have been erased; in live mode the key is
                # wrong, and the customer lives on elsewhere.
                if self._is_live:
                    raise
        return Saved(attempt.customer_id)

    def _look_for_customer(self, attempt: Attempt, next_call: NextCall) -> Saved | Advance | None:
        """Look for the customer whose metadata names the attempt."""
        if attempt.customer_id is not None:
            customer = self._stripe.retrieve(attempt.customer_id, timeout=next_call())
            return _after_source(customer) if _is_of(customer, attempt) else None
        created = self._stripe.created_between(
            attempt.started_at - CLOCK_SKEW,
            attempt.sent_at + CALL_LIFETIME + CLOCK_SKEW,
            timeout=next_call,
        )
        for customer in created:
            if _is_of(customer, attempt):
                return _after_source(customer)
        return None

    def _require_unused_token(self, attempt: Attempt, next_call: NextCall) -> None:
        """Make sure that the token was not used, else the PaymentMethod made of it is lost."""
        if attempt.token is None:
            return
        token = self._stripe.retrieve_token(attempt.token, timeout=next_call())
        if token is None or token.used:
            raise TokenRefused(code="token_already_used")

    def _look_at_payment_method(
        self, attempt: Attempt, next_call: NextCall
    ) -> Saved | Advance | None:
        """Look to which customer the PaymentMethod is attached: it fits one only, for ever."""
        payment_method = self._stripe.retrieve_payment_method(_card(attempt), timeout=next_call())
        if payment_method is None:
            raise TokenRefused(code="resource_missing")
        if payment_method.customer is None:
            return None
        if attempt.customer_id is None:
            return self._look_at_owner(payment_method.customer, attempt, next_call)
        if payment_method.customer != attempt.customer_id:
            raise TokenRefused
        return Advance(Step.SET_DEFAULT, attempt.customer_id, attempt.payment_method)

    def _look_at_owner(self, owner: str, attempt: Attempt, next_call: NextCall) -> Saved | Advance:
        try:
            customer = self._stripe.retrieve(owner, timeout=next_call())
        except CustomerGone:
            raise TokenRefused from None
        if customer.metadata.get("coord_user") != attempt.user_hash.hex():
            raise TokenRefused
        if _is_of(customer, attempt) and customer.default_payment_method == attempt.payment_method:
            return Saved(customer.id, has_default_pm=True)
        return Advance(Step.SET_DEFAULT, customer.id, attempt.payment_method)

    def _look_at_default(self, attempt: Attempt, next_call: NextCall) -> Saved | None:
        customer = self._stripe.retrieve(_customer(attempt), timeout=next_call())
        if _is_of(customer, attempt) and customer.default_payment_method == attempt.payment_method:
            return Saved(customer.id, has_default_pm=True)
        return None

    def require_detached(self, attempt: Attempt, next_call: NextCall) -> None:
        """Make sure that the card is not attached to the attempt's customer (any more).

        Raises:
            OutcomeUnknown: it is attached, so it must become the default.
        """
        card = _card(attempt)
        payment_method = self._stripe.retrieve_payment_method(card, timeout=next_call())
        if payment_method is not None and payment_method.customer == attempt.customer_id:
            raise OutcomeUnknown("the card is attached, but Stripe does not make it the default")


def _after_source(customer: Customer) -> Saved | Advance:
    """Continue after a source was saved: a PaymentMethod that is the default would hide it."""
    if customer.default_payment_method is None:
        return Saved(customer.id)
    if customer.default_source is None:
        raise OutcomeUnknown("the source that was saved is not there any more")
    return Advance(Step.SET_DEFAULT, customer.id, customer.default_source)


def _is_of(customer: Customer, attempt: Attempt) -> bool:
    return customer.metadata.get("coord_attempt") == attempt.id


def _card(attempt: Attempt) -> str:
    assert attempt.payment_method is not None
    return attempt.payment_method


def _customer(attempt: Attempt) -> str:
    assert attempt.customer_id is not None
    return attempt.customer_id
