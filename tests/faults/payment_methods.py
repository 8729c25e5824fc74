"""The fake Stripe's PaymentMethods: each is attached to one customer at most, for ever."""

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from faults import tally
from faults.call_faults import stripe_error
from faults.wire import Answer

Decline = tuple[str, str | None]
# "Attached already" and "used before" have neither code nor parameter at Stripe.
SILENT = Answer(
    400, json.dumps({"error": {"type": "invalid_request_error", "message": "text"}}).encode()
)


@dataclass
class PaymentMethod:
    """A card as Stripe stores it.

    Attributes:
        origin: what the caller sent for it: the token that it was made of, or its own id.
        decline: why a bank refuses it when it is attached, if one does.
        customer: to which it is attached.
        is_spent: whether it was detached, or its customer deleted.
    """

    id: str
    origin: str
    decline: Decline | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    customer: str | None = None
    is_spent: bool = False

    def answer(self) -> Answer:
        """Return it as Stripe does."""
        result: dict[str, Any] = {
            "id": self.id,
            "object": "payment_method",
            "type": "card",
            "billing_details": {"address": None, "email": None, "name": None, "phone": None},
            "created": 1,
            "customer": self.customer,
            "livemode": False,
            "metadata": self.metadata,
        }
        return Answer(200, json.dumps(result).encode())


class PaymentMethods:
    """All of them, by id."""

    def __init__(self) -> None:
        self.by_id: dict[str, PaymentMethod] = {}

    def make(
        self, origin: str | None, decline: Decline | None, metadata: dict[str, str]
    ) -> PaymentMethod:
        """Make one of a token, or by itself as a clone is."""
        name = f"pm_{secrets.token_hex(12)}"
        self.by_id[name] = made = PaymentMethod(name, origin or name, decline, metadata)
        return made

    def refused(self, name: str, missing_status: int) -> Answer | None:
        """Return why one cannot be attached, if it cannot."""
        found = self.by_id.get(name)
        if found is None:
            return stripe_error(missing_status, "resource_missing", "payment_method")
        if found.customer is not None or found.is_spent:
            return SILENT
        if found.decline:
            code, decline_code = found.decline
            return stripe_error(402, code, "", type="card_error", decline_code=decline_code)
        return None

    def attached(self, customer_id: str) -> list[PaymentMethod]:
        """Return those of a customer, the newest first."""
        return [one for one in reversed(self.by_id.values()) if one.customer == customer_id]

    def discard_loose(self) -> None:
        """Forget those that are attached to no customer."""
        loose = [
            one for one in self.by_id.values() if one.customer is None and one.origin != one.id
        ]
        tally.count(tally.UNFINDABLE, len(loose))
        self.by_id = {name: one for name, one in self.by_id.items() if one.customer is not None}

    def detach_all(self, customer_id: str) -> None:
        """Detach those of a customer that is deleted."""
        for one in self.attached(customer_id):
            one.customer, one.is_spent = None, True

    def detach(self, name: str) -> Answer:
        """Detach one."""
        found = self.by_id[name]
        if found.customer is None:
            return SILENT
        found.customer, found.is_spent = None, True
        return found.answer()
