"""Stripe's API as it is, without the SDK: each answer with its headers, and what was asked."""

import contextlib
import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx

STRIPE = "https://api.stripe.com"
# How long one call may take, in seconds: more than Stripe ever needs to ask a bank.
TIMEOUT = 60.0
# Of these headers the value matters.
VALUES = (
    "Stripe-Should-Retry",
    "Idempotent-Replayed",
    "Stripe-Rate-Limited-Reason",
    "Retry-After",
)
# Of these it only matters whether they are there.
NAMES = ("Idempotency-Key", "Original-Request", "Request-Id", "Stripe-Version")
ERROR = ("type", "code", "decline_code", "param")


class LiveKey(Exception):
    """Raised for a key that is not a test key: these questions make customers and refuse cards."""


@dataclass(frozen=True)
class Reply:
    """An answer of Stripe."""

    status: int
    headers: httpx.Headers
    body: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    def brief(self) -> dict[str, Any]:
        """Return what of an answer is the same each time: status, error, headers."""
        brief: dict[str, Any] = {"status": self.status}
        error = self.body.get("error", {})
        brief |= {name: error[name] for name in ERROR if error.get(name) is not None}
        brief |= {name: self.headers[name] for name in VALUES if name in self.headers}
        brief["headers"] = [name for name in NAMES if name in self.headers]
        return brief

    def default(self) -> str | None:
        """Return the default PaymentMethod of a customer."""
        default: str | None = self.body["invoice_settings"]["default_payment_method"]
        return default


@dataclass
class Api(contextlib.AbstractContextManager["Api"]):
    """One key of one account; at the end, the customers that it made are deleted.

    Args:
        key: a test key.
        base: where the API is.

    Attributes:
        made: the customers to delete when all is done.

    Raises:
        LiveKey: it is not a test key.
    """

    key: str = field(repr=False)
    base: str = STRIPE
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.key.startswith(("sk_test_", "rk_test_", "pk_test_")):
            raise LiveKey("not a test key: it begins with neither sk_test_ nor rk_test_")
        self._http = httpx.Client(
            base_url=f"{self.base}/v1/", auth=(self.key, ""), timeout=TIMEOUT, trust_env=False
        )

    def post(
        self, path: str, key: str | None = None, account: str | None = None, **params: Any
    ) -> Reply:
        """Send a POST; `key` is its idempotency key, `account` a connected account."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        if account:
            headers["Stripe-Account"] = account
        reply = self._reply(self._http.post(path, data=flat(params), headers=headers))
        if reply.body.get("object") == "customer" and reply.body["id"] not in self.made:
            self.made.append(reply.body["id"])
        return reply

    def get(self, path: str, **params: Any) -> Reply:
        """Send a GET."""
        return self._reply(self._http.get(path, params=flat(params)))

    def delete(self, path: str) -> Reply:
        """Send a DELETE."""
        return self._reply(self._http.delete(path))

    def payment_method(self, token: str = "tok_visa") -> str:
        """Make a PaymentMethod from a test token."""
        return str(self.post("payment_methods", type="card", card={"token": token})["id"])

    def customer(self, **params: Any) -> str:
        """Create a customer."""
        return str(self.post("customers", **params)["id"])

    def __exit__(self, *_: object) -> None:
        with contextlib.closing(self._http):
            for customer in self.made:
                self.delete(f"customers/{customer}")

    @staticmethod
    def _reply(answer: httpx.Response) -> Reply:
        return Reply(answer.status_code, answer.headers, answer.json())


def flat(params: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return parameters as a form has them: `card[token]`."""
    found: dict[str, str] = {}
    for name, value in params.items():
        full = f"{prefix}[{name}]" if prefix else name
        found |= flat(value, full) if isinstance(value, dict) else {full: str(value)}
    return found
