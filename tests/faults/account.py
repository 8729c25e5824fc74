"""The little of Stripe that the double does, and the ledger of what it did.

Its rules: https://docs.stripe.com/api/idempotent_requests and https://docs.stripe.com/api/customers.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from faults.scripted import Fault, stripe_error
from faults.wire import Answer, Request

DECLINES: dict[str, tuple[str, str | None]] = {
    "tok_chargeDeclined": ("card_declined", "generic_decline"),
    "tok_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "tok_chargeDeclinedIncorrectCvc": ("incorrect_cvc", None),
    "tok_chargeDeclinedExpiredCard": ("expired_card", None),
    "tok_chargeDeclinedProcessingError": ("processing_error", None),
}
REUSABLE = frozenset({"tok_visa", "tok_mastercard", "tok_amex", "tok_discover"})


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
        return self.request.form.get("source", "")

    @property
    def customer_id(self) -> str:
        return self.request.path.removeprefix("/v1/customers").strip("/")


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
    token: str  # whose card is the default
    deleted: bool = False

    def told(self) -> dict[str, Any]:
        """Give it as Stripe does."""
        if self.deleted:
            return {"id": self.id, "object": "customer", "deleted": True}
        return {
            "id": self.id,
            "object": "customer",
            "created": self.created,
            "email": self.email,
            "default_source": f"card_{self.token[-12:]}",
            "livemode": False,
            "metadata": self.metadata,
        }


@dataclass
class Kept:
    """What an idempotency key replays; no answer while its first request runs."""

    fingerprint: tuple[str, dict[str, str]]
    answer: Answer | None = None


@dataclass
class Account:
    """Customers, tokens and keys.

    Attributes:
        clock: Stripe's, in seconds since the epoch.
        ledger: what was executed, in order.
    """

    clock: Callable[[], float] = time.time
    customers: dict[str, Customer] = field(default_factory=dict)
    tokens: dict[str, tuple[str, str | None] | None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    ledger: list[Executed] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _kept: dict[str, Kept] = field(default_factory=dict)
    _in_use: set[str] = field(default_factory=set)

    def token(self, code: str | None = None, decline_code: str | None = None) -> str:
        """Make a token for one use; its card is refused where a `code` is given."""
        name = f"tok_{secrets.token_hex(12)}"
        self.tokens[name] = (code, decline_code) if code else None
        return name

    def live(self) -> list[Customer]:
        """Give the customers that are not deleted."""
        with self.lock:
            return [one for one in self.customers.values() if not one.deleted]

    def delete(self, customer_id: str) -> None:
        """Delete a customer, as somebody with Stripe's dashboard would."""
        with self.lock:
            self.customers[customer_id].deleted = True

    def forget_keys(self) -> None:
        """Do what Stripe may do after 24 hours."""
        with self.lock:
            self._kept = {key: kept for key, kept in self._kept.items() if kept.answer is None}

    def answer(self, call: Call, fault: Fault, meanwhile: Callable[[], object]) -> Answer:
        """Do what a call asks for, as far as its fault lets it, and give what shall be sent."""
        sent = fault.answer or Answer(503, b"")
        if call.request.method != "POST":
            answer = self.other(call) if fault.executed else sent
            return fault.answer or answer
        if not fault.executed and not fault.kept:
            return sent
        answer = self.post(
            call,
            meanwhile=meanwhile,
            kept=fault.answer if fault.kept else None,
            executed=fault.executed,
        )
        return answer if fault.kept or fault.answer is None else fault.answer

    def post(
        self, call: Call, *, meanwhile: Callable[[], object], kept: Answer | None, executed: bool
    ) -> Answer:
        """Create or update a customer, or replay what its key keeps.

        Args:
            call: what arrived.
            meanwhile: takes as long as the execution takes.
            kept: what the key shall keep in place of the outcome.
            executed: whether anything is done at all.
        """
        fingerprint = (call.request.path, call.request.form)
        with self.lock:
            if found := self._kept.get(call.key):
                if found.fingerprint != fingerprint:
                    return stripe_error(400, "idempotency_mismatch", type="idempotency_error")
                if found.answer is None:
                    return stripe_error(409, "idempotency_key_in_use", type="idempotency_error")
                call.replayed = True
                return replace(found.answer, headers=(("Idempotent-Replayed", "true"),))
            if call.token in self._in_use:
                return stripe_error(400, "token_in_use", "source")
            self._kept[call.key] = Kept(fingerprint)
            if call.token not in REUSABLE:
                self._in_use.add(call.token)
        meanwhile()
        with self.lock:
            self._in_use.discard(call.token)
            answer, keeps = self._perform(call) if executed else (stripe_error(500, "none"), True)
            if keeps:
                self._kept[call.key].answer = kept or answer
            else:
                del self._kept[call.key]
        return kept or answer

    def other(self, call: Call) -> Answer:
        """Retrieve, list or delete."""
        with self.lock:
            if not call.customer_id:
                return self._page(call.request.query)
            customer = self.customers.get(call.customer_id)
            is_delete = call.request.method == "DELETE"
            if customer is None or (customer.deleted and is_delete):
                return stripe_error(404, "resource_missing", "id")
            if is_delete:
                customer.deleted = True
                self._enter(call, customer.id, {}, 200)
            return Answer(200, json.dumps(customer.told()).encode())

    def _perform(self, call: Call) -> tuple[Answer, bool]:
        """Create or update; tells also whether the key keeps the answer."""
        form, customer_id = call.request.form, call.customer_id
        metadata = {name[9:-1]: form[name] for name in form if name.startswith("metadata[")}
        email = form.get("email")
        if email is not None and "@" not in email:
            return stripe_error(400, "email_invalid", "email"), False
        answer = self._refused(customer_id, call.token)
        if answer is None:
            if customer_id:
                customer = self.customers[customer_id]
                customer.metadata = {**customer.metadata, **metadata}
                customer.token = call.token
            else:
                customer_id = f"cus_{secrets.token_hex(7)}"
                customer = Customer(customer_id, int(self.clock()), email, metadata, call.token)
                self.customers[customer_id] = customer
            self.used.add(call.token)
            answer = Answer(200, json.dumps(customer.told()).encode())
        self._enter(call, customer_id, metadata, answer.status)
        return answer, True

    def _enter(self, call: Call, customer_id: str, metadata: dict[str, str], status: int) -> None:
        request, at = call.request, time.monotonic()
        self.ledger.append(
            Executed(
                request.method,
                request.path,
                call.key,
                call.token,
                customer_id,
                metadata,
                status,
                at,
            )
        )

    def _refused(self, customer_id: str, token: str) -> Answer | None:
        if customer_id:
            customer = self.customers.get(customer_id)
            if customer is None or customer.deleted:
                return stripe_error(404, "resource_missing", "id")
        if token in REUSABLE:
            return None
        if token not in self.tokens and token not in DECLINES:
            return stripe_error(400, "resource_missing", "source")
        if token in self.used:
            return stripe_error(400, "token_already_used", "source")
        if declined := DECLINES.get(token) or self.tokens.get(token):
            code, decline_code = declined
            return stripe_error(402, code, type="card_error", decline_code=decline_code)
        return None

    def _page(self, query: dict[str, str]) -> Answer:
        newest_first = [one for one in reversed(self.customers.values()) if not one.deleted]
        after = query.get("starting_after")
        if after is not None:
            ids = [one.id for one in newest_first]
            if after not in ids:
                # So does Stripe where the customer was deleted in the meantime.
                return stripe_error(400, "resource_missing", "starting_after")
            newest_first = newest_first[ids.index(after) + 1 :]
        first = int(query.get("created[gte]", "0"))
        last = int(query.get("created[lte]", str(2**40)))
        fitting = [one for one in newest_first if first <= one.created <= last]
        limit = int(query.get("limit", "10"))
        page = {
            "object": "list",
            "url": "/v1/customers",
            "has_more": len(fitting) > limit,
            "data": [one.told() for one in fitting[:limit]],
        }
        return Answer(200, json.dumps(page).encode())
