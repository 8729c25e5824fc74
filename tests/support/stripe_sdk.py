"""Stripe's SDK, as the stand-in's tests use it."""

import json
from typing import Any

import pytest
import stripe
from stripe import StripeClient

COORD = "acct_standin_coord"


class Sdk:
    """Stripe's SDK without its types, which lack what Stripe has deprecated.

    Args:
        url: of the stand-in.
        key: the secret key.
    """

    def __init__(self, url: str, key: str = "sk_test_x") -> None:
        self._client = StripeClient(key, base_addresses={"api": url})
        self.headers: dict[str, str] = {}

    def post(self, path: str, *, key: str | None = None, **params: Any) -> Any:
        """Send a POST; `key` is its idempotency key."""
        options = {"idempotency_key": key} if key else {}
        return self._send("post", path, **params, **options)

    def get(self, path: str, **params: Any) -> Any:
        return self._send("get", path, **params)

    def delete(self, path: str) -> Any:
        return self._send("delete", path)

    def token(self, number: str = "4242424242424242", **options: Any) -> str:
        """Make a token from a card."""
        card = {"number": number, "exp_month": "12", "exp_year": "2034", "cvc": "123"}
        return str(self.post("tokens", card=card, **options)["id"])

    def payment_method(self, token: str = "tok_visa") -> str:
        """Make a PaymentMethod from a token."""
        return str(self.post("payment_methods", type="card", card={"token": token})["id"])

    def customer(self, **params: Any) -> str:
        """Create a customer."""
        return str(self.post("customers", **params)["id"])

    def refused(self, path: str, status: int, **params: Any) -> dict[str, Any]:
        """Send a POST that is refused, and return the error."""
        with pytest.raises(stripe.StripeError) as raised:
            self.post(path, **params)
        return self._error(raised.value, status)

    def not_found(self, path: str, status: int = 404, **params: Any) -> dict[str, Any]:
        """Send a GET that is refused, and return the error."""
        with pytest.raises(stripe.StripeError) as raised:
            self.get(path, **params)
        return self._error(raised.value, status)

    def _send(self, method: str, path: str, **params: Any) -> Any:
        response = self._client.raw_request(method, f"/v1/{path}", **params)
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        return json.loads(response.body)

    def _error(self, raised: stripe.StripeError, status: int) -> dict[str, Any]:
        assert raised.http_status == status, raised
        self.headers = {name.lower(): value for name, value in (raised.headers or {}).items()}
        assert isinstance(raised.json_body, dict)
        error: dict[str, Any] = raised.json_body["error"]
        return error
