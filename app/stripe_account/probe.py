"""Checks that Stripe would let this service save a card, without saving one.

Each call names a token or PaymentMethod that cannot exist. Stripe checks the key's rights first,
then finds nothing by that name, and changes nothing.
"""

import uuid
from collections.abc import Callable
from typing import Literal

from app.errors import Misconfigured, TokenRefused, UsersApiError
from app.stripe_account.account import StripeAccount
from app.stripe_account.outcomes import EmailRefused, KeyMismatch, LookFirst, OutcomeUnknown

NO_TOKEN = "tok_coord_users_check"  # noqa: S105 - not a secret
NO_PAYMENT_METHOD = "pm_coord_users_check"


def trouble(
    account: StripeAccount, cards: Literal["source", "payment_method"], *, timeout: float
) -> str:
    """Return what would keep this service from saving a card, in words; empty if nothing would."""
    for attempt in _attempts(account, cards, timeout):
        if found := _trouble(attempt):
            return found
    return ""


def _attempts(account: StripeAccount, cards: str, timeout: float) -> list[Callable[[], object]]:
    def create(source: str | None, payment_method: str | None) -> Callable[[], object]:
        return lambda: account.create_customer(
            source=source,
            payment_method=payment_method,
            email=None,
            metadata={},
            idempotency_key=uuid.uuid4().hex,
            timeout=timeout,
        )

    def create_payment_method() -> object:
        return account.create_payment_method(
            NO_TOKEN, {}, idempotency_key=uuid.uuid4().hex, timeout=timeout
        )

    if cards == "source":
        return [create(NO_TOKEN, None)]
    return [create_payment_method, create(None, NO_PAYMENT_METHOD)]


def _trouble(attempt: Callable[[], object]) -> str:
    try:
        made = attempt()
    except Misconfigured as error:
        return error.inner or ""
    except LookFirst:
        # Stripe looked for the PaymentMethod, so the key has the right.
        return ""
    except TokenRefused as error:
        if error.code == "resource_missing":
            return ""
        return f"Stripe refuses a token that does not exist with the code {error.code}"
    except UsersApiError as error:
        return error.inner or f"Stripe refuses a token that does not exist: {error.code}"
    except (EmailRefused, KeyMismatch) as error:
        return str(error)
    except OutcomeUnknown as error:
        return f"cannot be reached: {error}"
    return f"Stripe accepted a token that does not exist: {made}"
