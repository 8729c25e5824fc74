"""What the fake Stripe remembers: the calls that arrived, what was executed, and the customers."""

import threading
from dataclasses import dataclass, field
from typing import Any

from faults.wire import Answer, Request

DEFAULT = "invoice_settings[default_payment_method]"


@dataclass
class Call:
    """One request that arrived."""

    request: Request
    at: float
    replayed: bool = False
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def key(self) -> str:
        return self.request.headers.get("idempotency-key", "")

    @property
    def token(self) -> str:
        form = self.request.form
        return (
            form.get("source")
            or form.get("card[token]")
            or form.get("payment_method")
            or form.get(DEFAULT)
            or self.payment_method
        )

    @property
    def customer_id(self) -> str:
        path = self.request.path
        return path.removeprefix("/v1/customers").strip("/") if "/customers" in path else ""

    @property
    def payment_method(self) -> str:
        """The one that the path names, if it names one."""
        _, found, rest = self.request.path.partition("/v1/payment_methods/")
        return rest.partition("/")[0] if found else ""


@dataclass(frozen=True)
class Executed:
    """One line of the ledger: what Stripe did, or refused after it had begun."""

    method: str
    path: str
    key: str
    token: str
    customer_id: str
    metadata: dict[str, str]
    status: int
    at: float


@dataclass
class Customer:
    """A customer on the account."""

    id: str
    created: int
    email: str | None
    metadata: dict[str, str]
    token: str  # whose card is charged
    source: str = ""  # the token last saved as a source
    default_pm: str | None = None
    deleted: bool = False

    @property
    def default_source(self) -> str | None:
        return f"card_{self.source[-12:]}" if self.source else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as Stripe does."""
        if self.deleted:
            return {"id": self.id, "object": "customer", "deleted": True}
        return {
            "id": self.id,
            "object": "customer",
            "created": self.created,
            "email": self.email,
            "default_source": self.default_source,
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": self.default_pm,
                "footer": None,
                "rendering_options": None,
            },
            "livemode": False,
            "metadata": self.metadata,
        }


@dataclass
class Kept:
    """What an idempotency key replays; no answer while its first request runs."""

    fingerprint: tuple[str, dict[str, str]]
    answer: Answer | None = None
