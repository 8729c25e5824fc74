"""One attempt: what is committed before Stripe is called."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from app.customers.steps import Step
from app.customers.token_cipher import TokenCipher, Undecryptable
from app.errors import CardRefused, ParameterRefused, TokenRefused, UsersApiError


class LeaseLost(Exception):
    """Another process has taken over an attempt that this one had leased."""


class CustomerTaken(Exception):
    """Another user's row holds the customer that Stripe returned for this attempt."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to save one card, or to forget a user, committed before Stripe is called.

    Attributes:
        id: names the attempt, in the row and in the customer's metadata at Stripe.
        user_hash: names the user in the customer's metadata at Stripe.
        key: the idempotency key; a new one whenever the parameters change.
        token: what the caller sent; None if it was encrypted with another secret.
        token_hash: recognises the token without storing it.
        customer_id: the customer whose card is replaced; None to create one.
        email: from the user's JWT when the attempt began.
        payment_method: the PaymentMethod to save; None before it is made of a token.
        age: seconds since the attempt began, or since its key was made.
        silence: seconds since a call was last sent, or was about to be.
        started_at: when its key was made, in seconds since the epoch.
        sent_at: when a call was last sent, or was about to be.
        is_taken_over: whether a call may have been sent before this process leased it.
    """

    id: str
    user_id: int
    user_hash: bytes
    request_id: str
    key: str
    token: str | None = field(repr=False)
    token_hash: bytes
    customer_id: str | None
    email: str | None = field(repr=False)
    step: Step
    payment_method: str | None
    holder: str
    age: float
    silence: float
    started_at: float
    sent_at: float
    is_taken_over: bool

    @property
    def step_key(self) -> str:
        """The idempotency key of the next call."""
        return self.key + self.step.key_suffix


def token_hash(token: str) -> bytes:
    """Return the SHA-256 of a card token, to recognise it without storing it.

    Tokens are random, so a plain hash suffices.
    """
    return hashlib.sha256(token.encode()).digest()


def cipher_context(attempt_id: str) -> str:
    """Return what a token is encrypted for.

    The version before, which knows no steps, encrypts for the attempt's id. So it cannot decrypt
    this token, and looks the attempt up at Stripe rather than sending it in its own way.
    """
    return f"steps of {attempt_id}"


def attempt_from(row: Row[Any], cipher: TokenCipher) -> Attempt:
    """Read the attempt of a row that this process has leased."""
    # The version before begins an attempt without a step, and leaves those of an older one.
    is_current = row.step_of == row.attempt_id
    context = cipher_context(row.attempt_id) if is_current else row.attempt_id
    token: str | None
    try:
        token = cipher.decrypt(row.attempt_token, context)
    except Undecryptable:
        token = None
    return Attempt(
        id=row.attempt_id,
        user_id=row.id,
        user_hash=row.user_hash,
        request_id=row.attempt_request,
        key=row.attempt_key,
        token=token,
        token_hash=row.attempt_token_hash,
        customer_id=row.attempt_customer_id,
        email=row.attempt_email,
        step=Step(row.step) if is_current else Step.SOURCE,
        payment_method=row.step_payment_method if is_current else None,
        holder=row.lease_holder,
        age=row.age,
        silence=row.silence,
        started_at=row.attempt_started_at,
        sent_at=row.attempt_sent_at,
        is_taken_over=True,
    )


def recorded_refusal(refusal: dict[str, str]) -> UsersApiError:
    """Return the refusal that an identical request was answered."""
    if refusal["kind"] == CardRefused.__name__:
        return CardRefused(code=refusal["code"], decline_code=refusal["decline_code"])
    if refusal["kind"] == TokenRefused.__name__:
        return TokenRefused(code=refusal["code"])
    return ParameterRefused(inner="refused for another request")
