"""The little of Stripe that the fake Stripe does, and the ledger of what it did.

Its rules: https://docs.stripe.com/api/idempotent_requests and https://docs.stripe.com/api/customers.
"""

import json
import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlencode

from faults.call_faults import Fault, stripe_error
from faults.listing import page
from faults.payment_methods import PaymentMethods
from faults.records import DEFAULT, Call, Customer, Executed, Kept
from faults.wire import Answer
from support import stripe_document

DECLINES: dict[str, tuple[str, str | None]] = {
    "tok_chargeDeclined": ("card_declined", "generic_decline"),
    "tok_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "tok_chargeDeclinedIncorrectCvc": ("incorrect_cvc", None),
    "tok_chargeDeclinedExpiredCard": ("expired_card", None),
    "tok_chargeDeclinedProcessingError": ("processing_error", None),
}
REUSABLE = frozenset({"tok_visa", "tok_mastercard", "tok_amex", "tok_discover"})


@dataclass
class Account:
    """Customers, tokens and keys.

    Attributes:
        clock: Stripe's, in seconds since the epoch.
        ledger: what was executed, in order.
        sends: what callers send for a card: tokens, PaymentMethods, or either.
        chance: decides which of them, where callers send either.
        senders: the subjects of the users who sent a token or PaymentMethod, by it.
    """

    clock: Callable[[], float] = time.time
    customers: dict[str, Customer] = field(default_factory=dict)
    tokens: dict[str, tuple[str, str | None] | None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    ledger: list[Executed] = field(default_factory=list)
    payment_methods: PaymentMethods = field(default_factory=PaymentMethods)
    sends: Literal["tok", "pm", "mixed"] = "tok"
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    senders: dict[str, set[str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _kept: dict[str, Kept] = field(default_factory=dict)
    _in_use: set[str] = field(default_factory=set)

    def token(self, code: str | None = None, decline_code: str | None = None) -> str:
        """Make a token for one use; its card is refused where a `code` is given."""
        decline = (code, decline_code) if code else None
        if self.sends == "pm" or (self.sends == "mixed" and self.chance.random() < 0.5):
            name = self.payment_methods.make(None, decline, {}).id
        else:
            name = f"tok_{secrets.token_hex(12)}"
        self.tokens[name] = decline
        return name

    def live(self) -> list[Customer]:
        """Return the customers that are not deleted."""
        with self.lock:
            return [one for one in self.customers.values() if not one.deleted]

    def delete(self, customer_id: str) -> None:
        """Delete a customer, as an operator with Stripe's dashboard would."""
        with self.lock:
            self.customers[customer_id].deleted = True
            self.payment_methods.detach_all(customer_id)

    def detach(self, name: str) -> Answer:
        """Detach a PaymentMethod; a customer whose default it was has none any more.

        Some saw its id stay the default (https://github.com/dj-stripe/dj-stripe/issues/1836); it
        cannot be charged in either case.
        """
        with self.lock:
            found = self.payment_methods.by_id.get(name)
            if found is None:
                return stripe_error(404, "resource_missing", "payment_method")
            owner = self.customers.get(found.customer or "")
            answer = self.payment_methods.detach(name)
            if owner is not None and owner.default_pm == name:
                owner.default_pm, owner.token = None, owner.source
            return answer

    def sent_by(self, subject: str, token: str) -> None:
        """Remember who sends a token or PaymentMethod."""
        self.senders.setdefault(token, set()).add(subject)

    def forget_keys(self) -> None:
        """Do what Stripe may do after 24 hours."""
        with self.lock:
            self._kept = {key: kept for key, kept in self._kept.items() if kept.answer is None}

    def answer(self, call: Call, fault: Fault, meanwhile: Callable[[], object]) -> Answer:
        """Do what a call asks for, as far as its fault lets it, and return what shall be sent."""
        sent = fault.answer or Answer(503, b"")
        request = call.request
        stripe_document.watch(
            request.method, f"{request.path}?{urlencode(request.query)}", urlencode(request.form)
        )
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
        if not call.key:
            with self.lock:
                return self._perform(call)[0]
        with self.lock:
            if found := self._kept.get(call.key):
                if found.fingerprint != fingerprint:
                    return stripe_error(400, "idempotency_mismatch", type="idempotency_error")
                if found.answer is None:
                    return stripe_error(409, "idempotency_key_in_use", type="idempotency_error")
                call.replayed = True
                return replace(found.answer, headers=(("Idempotent-Replayed", "true"),))
            if call.token in self._in_use:
                return stripe_error(400, "token_in_use")
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
            path = call.request.path
            if call.payment_method:
                found = self.payment_methods.by_id.get(call.payment_method)
                missing = stripe_error(404, "resource_missing", "payment_method")
                return found.answer() if found else missing
            if path.startswith("/v1/tokens/"):
                return self._token(path.removeprefix("/v1/tokens/"))
            if not call.customer_id:
                return page(self.customers.values(), call.request.query)
            customer = self.customers.get(call.customer_id)
            is_delete = call.request.method == "DELETE"
            if customer is None or (customer.deleted and is_delete):
                return stripe_error(404, "resource_missing", "id")
            if is_delete:
                self.delete(customer.id)
                self._enter(call, customer.id, {}, 200)
            return Answer(200, json.dumps(customer.to_dict()).encode())

    def _perform(self, call: Call) -> tuple[Answer, bool]:
        """Create or update; returns also whether the key keeps the answer."""
        form, customer_id = call.request.form, call.customer_id
        if "/payment_methods" in call.request.path:
            return self._perform_on_card(call), True
        metadata = {name[9:-1]: form[name] for name in form if name.startswith("metadata[")}
        email = form.get("email")
        if email is not None and "@" not in email:
            return stripe_error(400, "email_invalid", "email"), False
        answer = self._refused(customer_id, call)
        if answer is None:
            if not customer_id:
                customer_id = f"cus_{secrets.token_hex(7)}"
                created = int(self.clock())
                self.customers[customer_id] = Customer(customer_id, created, email, {}, "")
            customer = self.customers[customer_id]
            changed = {**customer.metadata, **metadata}
            customer.metadata = {name: value for name, value in changed.items() if value}
            self._set_card(customer, form)
            answer = Answer(200, json.dumps(customer.to_dict()).encode())
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

    def _set_card(self, customer: Customer, form: dict[str, str]) -> None:
        """Attach, and let the customer be charged by what is its default then."""
        cards = self.payment_methods.by_id
        if "payment_method" in form:
            cards[form["payment_method"]].customer = customer.id
            self.used.add(form["payment_method"])
        if DEFAULT in form:
            customer.default_pm = form[DEFAULT]
            card = cards.get(form[DEFAULT])
            customer.token = card.origin if card else customer.source
        if "source" in form:
            self.used.add(form["source"])
            customer.source = form["source"]
            if customer.default_pm is None:
                customer.token = form["source"]

    def _perform_on_card(self, call: Call) -> Answer:
        """Make a PaymentMethod of a token, attach or detach one."""
        form, cards = call.request.form, self.payment_methods
        metadata = {name[9:-1]: form[name] for name in form if name.startswith("metadata[")}
        customer_id = form.get("customer", "")
        if call.request.path.endswith("/attach"):
            customer = self.customers.get(customer_id)
            if customer is None or customer.deleted:
                answer = stripe_error(404, "resource_missing", "customer")
            elif not (answer := cards.refused(call.payment_method, 404)):
                found = cards.by_id[call.payment_method]
                found.customer = customer_id
                self.used.add(found.id)
                answer = found.answer()
        elif call.request.path.endswith("/detach"):
            answer = self.detach(call.payment_method)
        elif not (answer := self._refused_token(call.token, "card[token]", asks_bank=False)):
            self.used.add(call.token)
            decline = DECLINES.get(call.token) or self.tokens.get(call.token)
            answer = cards.make(call.token, decline, metadata).answer()
        self._enter(call, customer_id, metadata, answer.status)
        return answer

    def _token(self, name: str) -> Answer:
        if name not in self.tokens:
            return stripe_error(404, "resource_missing", "token")
        result = {
            "id": name,
            "object": "token",
            "created": 1,
            "client_ip": None,
            "livemode": False,
            "type": "card",
            "used": name in self.used,
        }
        return Answer(200, json.dumps(result).encode())

    def _refused(self, customer_id: str, call: Call) -> Answer | None:
        form = call.request.form
        if customer_id:
            customer = self.customers.get(customer_id)
            if customer is None or customer.deleted:
                return stripe_error(404, "resource_missing", "id")
        if "source" in form:
            return self._refused_token(form["source"], "source")
        if "payment_method" in form:
            return self.payment_methods.refused(form["payment_method"], 400)
        if DEFAULT in form and form[DEFAULT] != self.customers[customer_id].default_source:
            card = self.payment_methods.by_id.get(form[DEFAULT])
            if card is None or card.customer != customer_id:
                return stripe_error(400, "resource_missing", DEFAULT)
        return None

    def _refused_token(self, token: str, param: str, *, asks_bank: bool = True) -> Answer | None:
        if token in REUSABLE:
            return None
        if token not in self.tokens and token not in DECLINES:
            return stripe_error(400, "resource_missing", param)
        if token in self.used:
            return stripe_error(400, "token_already_used")
        if asks_bank and (declined := DECLINES.get(token) or self.tokens.get(token)):
            code, decline_code = declined
            return stripe_error(402, code, type="card_error", decline_code=decline_code)
        return None
