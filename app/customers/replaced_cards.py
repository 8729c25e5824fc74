"""Detaches the card that a new one has replaced, where this service attached it.

A PaymentMethod stays attached when another becomes the default, and a customer can have a few
hundred at most. A source needs nothing: Stripe deletes it when it is replaced.
"""

from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import Row

from app.customers.pacer import Pacer
from app.customers.upkeep import Upkeep
from app.errors import ParameterRefused, TokenRefused, UsersApiError
from app.stripe_account.account import (
    CustomerGone,
    CustomerUnknown,
    OutcomeUnknown,
    StripeAccount,
)

log = structlog.get_logger()

# Rows in one round of the completer, each with two calls.
MOST_IN_A_ROUND = 50


class ReplacedCards:
    """Works through the rows that name a replaced card."""

    def __init__(self, upkeep: Upkeep, stripe: StripeAccount, timeout: float) -> None:
        self._upkeep = upkeep
        self._stripe = stripe
        self._timeout = timeout
        # The row where the last round ended: those that fail by themselves hold up no others.
        self._after = 0

    def detach(self, pacer: Pacer) -> None:
        """Detach replaced cards; what fails now is tried again in a later round."""
        rows = self._upkeep.replaced_cards(MOST_IN_A_ROUND, self._after)
        for row in rows:
            if not pacer.wait():
                return
            try:
                self.detach_one(row)
            except (CustomerUnknown, ParameterRefused) as error:
                log.warning("replaced card not detached", user=row.id, reason=str(error))
            except (UsersApiError, OutcomeUnknown) as error:
                log.warning("replaced cards not detached", user=row.id, reason=str(error))
                return
            self._after = row.id
        if len(rows) < MOST_IN_A_ROUND:
            self._after = 0

    def detach_one(self, row: Row[Any]) -> None:
        """Detach the card that a row names, unless it is the default again, or not there any more.

        Args:
            row: of `Upkeep.replaced_cards`.

        Raises:
            CustomerUnknown, ParameterRefused, UsersApiError, OutcomeUnknown: it is not detached.
        """
        customer_id, card = row.stripe_customer_id, row.replaced_payment_method_id
        with suppress(CustomerGone, TokenRefused):
            customer = self._stripe.retrieve(customer_id, timeout=self._timeout)
            payment_method = self._stripe.retrieve_payment_method(card, timeout=self._timeout)
            is_ours = payment_method is not None and payment_method.customer == customer_id
            if is_ours and customer.default_payment_method != card:
                self._stripe.detach(card, timeout=self._timeout)
        self._upkeep.record_detached(row.id, card)
