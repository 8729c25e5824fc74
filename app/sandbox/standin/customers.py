"""Customers of the stand-in (https://docs.stripe.com/api/customers)."""

import secrets
from collections.abc import Mapping
from typing import Any

from app.sandbox.standin import cards
from app.sandbox.standin.payment_methods import PaymentMethods
from app.sandbox.standin.problems import Object, StripeProblem, no_such
from app.sandbox.standin.state import Params, State, metadata, new_id, page, public, texts
from app.sandbox.standin.tokens import Tokens

TEXTS = ("business_name", "description", "email", "individual_name", "name", "phone", "tax_exempt")
DEFAULT = "invoice_settings[default_payment_method]"


class Customers:
    """Creates and changes customers, each with all that a request names or not at all."""

    def __init__(self, state: State, tokens: Tokens, payment_methods: PaymentMethods) -> None:
        self._state = state
        self._tokens = tokens
        self._payment_methods = payment_methods

    def create(self, params: Params, key: str = "") -> Object:
        """Create a customer."""
        customer: Object = {
            "id": new_id("cus"),
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": self._state.now(),
            "currency": None,
            "default_source": None,
            "delinquent": False,
            "description": None,
            "discount": None,
            "email": None,
            "invoice_prefix": secrets.token_hex(4).upper(),
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "livemode": False,
            "metadata": {},
            "name": None,
            "next_invoice_sequence": 1,
            "phone": None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
            "_card": None,
        }
        return self._save(customer, params, key)

    def update(self, customer_id: str, params: Params, key: str = "") -> Object:
        """Change a customer; a source replaces its default source."""
        return self._save({**self._state.customer(customer_id)}, params, key)

    def retrieve(self, customer_id: str) -> Object:
        """Return a customer, or what is left of a deleted one."""
        with self._state.lock:
            customer = self._state.customers.get(customer_id)
        if customer is None:
            raise no_such("customer", customer_id, "id", 404)
        return _left(customer_id) if "deleted" in customer else public(customer)

    def list_created(self, first: int, last: int, params: Mapping[str, Any]) -> Object:
        """Return a page of the customers created in a span of time, the newest first."""
        email = params.get("email")
        with self._state.lock:
            found = (
                one
                for one in reversed(self._state.customers.values())
                if "deleted" not in one
                and first <= one["created"] <= last
                and email in (None, one["email"])
            )
            return page(found, "/v1/customers", params)

    def delete(self, customer_id: str) -> Object:
        """Delete a customer and its cards, for good."""
        with self._state.lock:
            self._state.customer(customer_id)
            for card in self._payment_methods.attached(customer_id):
                card["customer"], card["_spent"] = None, True
            self._state.customers[customer_id] = _left(customer_id)
            self._state.keep()
        return _left(customer_id)

    def _save(self, customer: Object, params: Params, key: str) -> Object:
        """Write a customer with all that is in `params`, or change nothing."""
        email = params.get("email")
        if email and "@" not in email:
            raise StripeProblem(
                400, f"Invalid email address: {email}", code="email_invalid", param="email"
            )
        customer.update(texts(params, TEXTS))
        customer["metadata"] = metadata(customer["metadata"], params)
        if source := params.get("source"):
            if source.startswith("pm_"):
                raise StripeProblem(400, "A PaymentMethod is not a source.")
            return self._tokens.use(
                source, key, "source", lambda number: self._with_source(customer, number, params)
            )
        return self._write(customer, params)

    def _with_source(self, customer: Object, number: str, params: Params) -> Object:
        cards.require_accepted(number)
        customer["_card"] = number
        customer["default_source"] = new_id("card")
        return self._write(customer, params)

    def _write(self, customer: Object, params: Params) -> Object:
        with self._state.lock:
            default = params.get(DEFAULT)
            card = None
            if payment_method := params.get("payment_method"):
                card = self._payment_methods.find(payment_method)
            if default:
                attached = self._payment_methods.attached(customer["id"])
                if default not in [one["id"] for one in attached] + [card and card["id"]]:
                    raise no_such("PaymentMethod", default, DEFAULT)
            if card is not None:
                self._payment_methods.save(card, customer["id"])
            if default:
                settings = customer["invoice_settings"]
                customer["invoice_settings"] = {**settings, "default_payment_method": default}
            self._state.customers[customer["id"]] = customer
            self._state.keep()
        return public(customer)


def _left(customer_id: str) -> Object:
    return {"id": customer_id, "object": "customer", "deleted": True}
