"""PaymentMethods of the stand-in (https://docs.stripe.com/api/payment_methods).

One that was attached can be detached, but never be attached again; one that was shared with
another account without a customer is spent by that.
"""

from collections.abc import Mapping
from typing import Any

from app.sandbox.standin import cards
from app.sandbox.standin.problems import Object, StripeProblem, missing, no_such
from app.sandbox.standin.state import COORD, Params, State, metadata, new_id, page, public
from app.sandbox.standin.tokens import Tokens, require_number

# How many PaymentMethods a customer can have, as Stripe's staff names it in stripe-ios#3234.
MOST = 400
SPENT = (
    "This PaymentMethod was previously used without being attached to a Customer or was detached"
    " from a Customer, and may not be used again."
)
PARAM = "payment_method"
NOT_RETRIED = {"Stripe-Should-Retry": "false"}


class PaymentMethods:
    """Makes PaymentMethods, and attaches each once."""

    def __init__(self, state: State, tokens: Tokens) -> None:
        self._state = state
        self._tokens = tokens

    def create(self, params: Params, account: str | None, key: str = "") -> Object:
        """Make a PaymentMethod: from a token, a card, or another account's PaymentMethod."""
        if PARAM in params:
            return self._clone(params, account)
        kind = params.get("type")
        if kind != "card":
            raise (
                missing("type")
                if not kind
                else StripeProblem(400, "The stand-in plays cards only.", param="type")
            )
        if token := params.get("card[token]"):
            return self._tokens.use(
                token, key, "card[token]", lambda number: self._new(number, params, COORD)
            )
        if not params.get("card[number]"):
            raise missing("card")
        number = require_number(params["card[number]"].replace(" ", ""))
        return self._new(number, params, account or COORD)

    def retrieve(self, name: str) -> Object:
        """Return a PaymentMethod as it is now; for a test id, a new copy of it."""
        if name in cards.TEST_PAYMENT_METHODS:
            return public(self._made(cards.TEST_PAYMENT_METHODS[name], {}, COORD))
        return public(self._known(name, 404))

    def retrieve_of(self, customer_id: str, name: str) -> Object:
        """Return a PaymentMethod that is attached to a customer."""
        self._state.customer(customer_id, "customer")
        found = self._known(name, 404)
        if found["customer"] != customer_id:
            raise no_such(PARAM, name, PARAM, 404)
        return public(found)

    def attach(self, name: str, params: Params) -> Object:
        """Attach a PaymentMethod to a customer, after its bank was asked."""
        customer_id = params.get("customer")
        if not customer_id:
            raise missing("customer")
        with self._state.lock:
            self._state.customer(customer_id, "customer", 400)
            if name in cards.TEST_PAYMENT_METHODS:
                found = self._made(cards.TEST_PAYMENT_METHODS[name], {}, COORD)
            elif name.startswith("tok_"):
                raise StripeProblem(400, "A token is not a PaymentMethod.", param=PARAM)
            else:
                found = self._known(name, 404)
            self.save(found, customer_id)
            self._state.keep()
        return public(found)

    def find(self, name: str) -> Object:
        """Return the PaymentMethod with which a customer is created.

        Raises:
            StripeProblem: there is none, or it is one of Stripe's test ids.
        """
        if name in cards.TEST_PAYMENT_METHODS:
            raise StripeProblem(
                400,
                f"The customer does not have a payment method with the ID {name}.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
        return self._known(name, 400)

    def save(self, found: Object, customer_id: str) -> None:
        """Attach an object, or change nothing.

        Raises:
            StripeProblem: it is attached or spent, its bank refuses it, or there are too many.
        """
        if found["customer"] is not None:
            raise StripeProblem(
                400,
                "The payment method you provided has already been attached to a customer.",
                headers=NOT_RETRIED,
            )
        if found["_spent"]:
            raise StripeProblem(400, SPENT, headers=NOT_RETRIED)
        if len(self.attached(customer_id)) >= MOST:
            raise StripeProblem(
                400,
                "The customer has as many payment methods as it can have.",
                code="customer_max_payment_methods",
            )
        cards.require_accepted(found["_card"])
        found["customer"] = customer_id
        found["card"] = {**found["card"], "checks": _checks("pass")}
        self._state.payment_methods[found["id"]] = found

    def detach(self, name: str) -> Object:
        """Detach a PaymentMethod from its customer, for good."""
        with self._state.lock:
            found = self._known(name, 404)
            customer_id = found["customer"]
            if customer_id is None:
                raise StripeProblem(
                    400, "The payment method you provided is not attached to a customer."
                )
            found["customer"], found["_spent"] = None, True
            settings = self._state.customer(customer_id)["invoice_settings"]
            if settings["default_payment_method"] == name:
                settings["default_payment_method"] = None
            self._state.keep()
        return public(found)

    def list_of(self, customer_id: str, params: Mapping[str, Any], url: str) -> Object:
        """Return a page of what is attached to a customer, the newest first."""
        with self._state.lock:
            self._state.customer(customer_id, "customer")
            found = self.attached(customer_id) if params.get("type") in (None, "card") else []
            return page(reversed(found), url, params)

    def attached(self, customer_id: str) -> list[Object]:
        """Return what is attached to a customer."""
        every = self._state.payment_methods.values()
        return [one for one in every if one["customer"] == customer_id]

    def _clone(self, params: Params, account: str | None) -> Object:
        """Share a PaymentMethod with a connected account, where it is another one.

        https://docs.stripe.com/connect/direct-charges-multiple-accounts
        """
        if account is None:
            raise StripeProblem(
                400,
                "A PaymentMethod is shared with a connected account: send the header"
                " `Stripe-Account`.",
                param=PARAM,
            )
        with self._state.lock:
            original = self._known(params[PARAM], 400, of_any_account=True)
            customer_id = params.get("customer")
            if customer_id is None:
                if original["customer"] is not None or original["_spent"]:
                    raise StripeProblem(400, SPENT, headers=NOT_RETRIED)
                original["_spent"] = True
            elif original["customer"] != customer_id:
                raise no_such(PARAM, params[PARAM], PARAM)
            return self._new(original["_card"], params, account)

    def _new(self, number: str, params: Params, account: str) -> Object:
        made = self._made(number, params, account)
        with self._state.lock:
            self._state.payment_methods[made["id"]] = made
            self._state.keep()
        return public(made)

    def _made(self, number: str, params: Params, account: str) -> Object:
        network = cards.brand(number)
        return {
            "id": new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": params.get("allow_redisplay", "unspecified"),
            "billing_details": {
                "address": dict.fromkeys(
                    ("city", "country", "line1", "line2", "postal_code", "state")
                ),
                "email": params.get("billing_details[email]"),
                "name": params.get("billing_details[name]"),
                "phone": params.get("billing_details[phone]"),
                "tax_id": None,
            },
            "card": {
                **cards.details(number),
                "checks": _checks("unchecked"),
                "display_brand": network,
                "generated_from": None,
                "networks": {"available": [network], "preferred": None},
                "three_d_secure_usage": {"supported": True},
                "wallet": None,
            },
            "created": self._state.now(),
            "customer": None,
            "customer_account": None,
            "livemode": False,
            "metadata": metadata({}, params),
            "type": "card",
            "_account": account,
            "_card": number,
            "_spent": False,
        }

    def _known(self, name: str, status: int, *, of_any_account: bool = False) -> Object:
        found = self._state.payment_methods.get(name)
        if found is None or (found["_account"] != COORD and not of_any_account):
            raise no_such("PaymentMethod", name, PARAM, status)
        return found


def _checks(cvc: str) -> Object:
    return {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": cvc}
