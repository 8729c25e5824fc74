"""Coord's account at the stand-in: customers, tokens and idempotency keys.

https://docs.stripe.com/api/customers, https://docs.stripe.com/api/tokens and
https://docs.stripe.com/api/idempotent_requests say what is to be expected.
"""

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.sandbox.standin.cards import (
    DECLINED_NUMBERS,
    REFUSED_TOKENS,
    SLOW_TOKEN,
    TEST_TOKENS,
    TROUBLES,
    Decline,
    is_card_number,
)

COORD = "acct_standin_coord"
KEY_LIFETIME = 24 * 3600
SLOW_SECONDS = 30.0
# Stripe keeps no answer to a request that it did not begin to execute.
NOT_KEPT = frozenset({"parameter_unknown", "parameter_missing", "parameter_invalid_empty"})

Object = dict[str, Any]
Params = dict[str, str]


class StripeProblem(Exception):
    """An answer other than 200, in Stripe's form (https://docs.stripe.com/api/errors)."""

    def __init__(self, status: int, message: str, **members: str | None) -> None:
        super().__init__(message)
        self.status = status
        error = {"type": "invalid_request_error", "message": message, **members}
        self.body = {"error": {name: value for name, value in error.items() if value is not None}}

    @property
    def code(self) -> str:
        """Stripe's code, or nothing."""
        return str(self.body["error"].get("code", ""))


class Account:
    """What the stand-in knows; safe among threads.

    Args:
        file: where it is kept; nowhere if None.
        clock: seconds since the epoch.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._lock = threading.RLock()
        self._in_use: set[str] = set()
        self._running: set[str] = set()
        self._troubles: Counter[str] = Counter()
        self._state: dict[str, dict[str, Any]] = {"customers": {}, "tokens": {}, "keys": {}}
        if file is not None and file.exists():
            self._state = json.loads(file.read_text("utf-8"))

    def create_token(self, params: Params, account: str | None) -> Object:
        """Make a token from a card, or from a customer for a connected account."""
        if "customer" in params:
            if account is None:
                raise StripeProblem(
                    400,
                    "A token is made from a customer for a connected account: send the header"
                    " `Stripe-Account`.",
                    param="customer",
                )
            return self._new_token(self._customer(params["customer"])["_card"], account)
        number = params.get("card[number]", "").replace(" ", "")
        if not number:
            raise _missing("card")
        if not is_card_number(number):
            raise StripeProblem(
                402,
                "Your card number is incorrect.",
                type="card_error",
                code="incorrect_number",
                param="number",
            )
        return self._new_token(number, account or COORD)

    def create_customer(
        self, params: Params, key: str = "", sleep: Callable[[float], None] = time.sleep
    ) -> Object:
        """Create a customer with the source's card, or none at all."""
        customer = {
            "id": f"cus_standin_{secrets.token_hex(8)}",
            "object": "customer",
            "created": int(self._clock()),
            "default_source": None,
            "description": params.get("description"),
            "email": params.get("email"),
            "livemode": False,
            "metadata": {},
            "_card": None,
        }
        return self._save(customer, params, key, sleep)

    def update_customer(
        self,
        customer_id: str,
        params: Params,
        key: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> Object:
        """Change a customer; a source replaces its default card."""
        customer = {**self._customer(customer_id)}
        customer.update({name: params[name] for name in ("description", "email") if name in params})
        return self._save(customer, params, key, sleep)

    def retrieve_customer(self, customer_id: str) -> Object:
        """Tell a customer, or what is left of it."""
        with self._lock:
            customer = self._state["customers"].get(customer_id)
        return _public(customer) if customer else _public(self._customer(customer_id))

    def list_customers(self, first: int, last: int, limit: int, after: str | None) -> Object:
        """Tell a page of the customers created in a span of time, the newest first."""
        with self._lock:
            everyone = [one for one in self._state["customers"].values() if "deleted" not in one]
        found = [one for one in reversed(everyone) if first <= one["created"] <= last]
        if after is not None:
            ids = [one["id"] for one in found]
            if after not in ids:
                raise _no_such("customer", after, "starting_after", 400)
            found = found[ids.index(after) + 1 :]
        return {
            "object": "list",
            "url": "/v1/customers",
            "has_more": len(found) > limit,
            "data": [_public(one) for one in found[:limit]],
        }

    def delete_customer(self, customer_id: str) -> Object:
        """Delete a customer for good."""
        with self._lock:
            self._customer(customer_id)
            gone = {"id": customer_id, "object": "customer", "deleted": True}
            self._state["customers"][customer_id] = gone
            self._keep()
        return gone

    def begin(self, key: str, request: str) -> tuple[int, Object] | None:
        """Begin a request under an idempotency key, or tell what was answered to it before."""
        with self._lock:
            kept = self._state["keys"].get(key)
            if kept and kept["at"] > self._clock() - KEY_LIFETIME:
                if kept["request"] != request:
                    raise StripeProblem(
                        400,
                        "Keys for idempotent requests can only be used with the same parameters"
                        " they were first used with.",
                        type="idempotency_error",
                    )
                return kept["status"], kept["body"]
            if key in self._running:
                raise StripeProblem(
                    409,
                    "There is currently another in-progress request using this idempotency key.",
                    type="idempotency_error",
                    code="idempotency_key_in_use",
                )
            self._running.add(key)
        return None

    def end(self, key: str, request: str, status: int, body: Object) -> None:
        """End a request under an idempotency key, and keep its answer."""
        with self._lock:
            self._running.discard(key)
            code = body.get("error", {}).get("code")
            if status not in (401, 403, 409, 429, 503) and code not in NOT_KEPT:
                kept = {"request": request, "status": status, "body": body, "at": self._clock()}
                self._state["keys"][key] = kept
                self._keep()

    def _save(
        self, customer: Object, params: Params, key: str, sleep: Callable[[float], None]
    ) -> Object:
        """Write a customer with all that is in `params`, or change nothing."""
        email = params.get("email")
        if email and "@" not in email:
            raise StripeProblem(
                400, f"Invalid email address: {email}", code="email_invalid", param="email"
            )
        pairs = {name[9:-1]: value for name, value in params.items() if name[:9] == "metadata["}
        customer["metadata"] = {**customer["metadata"], **pairs}
        if token := params.get("source"):
            customer["_card"] = self._use(token, key, sleep)
            customer["default_source"] = f"card_standin_{secrets.token_hex(8)}"
        with self._lock:
            self._state["customers"][customer["id"]] = customer
            self._keep()
        return _public(customer)

    def _use(self, token: str, key: str, sleep: Callable[[float], None]) -> str:
        """Use a token up, and tell its card."""
        self._play(token, key, sleep)
        if token in TEST_TOKENS or token in TROUBLES or token == SLOW_TOKEN:
            _refuse(TEST_TOKENS.get(token))
            return "4242424242424242"
        with self._lock:
            known = self._state["tokens"].get(token)
            if known is None or known["account"] != COORD:
                raise _no_such("token", token, "source", 400)
            if known["used"]:
                raise StripeProblem(
                    400,
                    f"You cannot use a Stripe token more than once: {token}.",
                    code="token_already_used",
                    param="source",
                )
            if token in self._in_use:
                raise StripeProblem(
                    400,
                    f"The token {token} is being used in another request.",
                    code="token_in_use",
                    param="source",
                )
            self._in_use.add(token)
        try:
            _refuse(DECLINED_NUMBERS.get(known["card"]))
            known["used"] = True
        finally:
            self._in_use.discard(token)
        return str(known["card"])

    def _play(self, token: str, key: str, sleep: Callable[[float], None]) -> None:
        """Play the bad day that a token of ours stands for."""
        if token in REFUSED_TOKENS:
            code = REFUSED_TOKENS[token]
            raise StripeProblem(400, "The stand-in refuses this token.", code=code, param="source")
        if token == SLOW_TOKEN:
            sleep(SLOW_SECONDS)
        status, calls = TROUBLES.get(token, (0, 0))
        if self._troubles[key] < calls:
            self._troubles[key] += 1
            raise StripeProblem(status, "The stand-in plays a bad day.", type="api_error")

    def _new_token(self, card: str, account: str) -> Object:
        token = f"tok_standin_{secrets.token_hex(8)}"
        with self._lock:
            self._state["tokens"][token] = {"card": card, "account": account, "used": False}
            self._keep()
        return {
            "id": token,
            "object": "token",
            "created": int(self._clock()),
            "livemode": False,
            "type": "card",
            "used": False,
        }

    def _customer(self, customer_id: str) -> Object:
        with self._lock:
            customer: Object | None = self._state["customers"].get(customer_id)
        if customer is None or "deleted" in customer:
            raise _no_such("customer", customer_id, "id", 404)
        return customer

    def _keep(self) -> None:
        if self._file is not None:
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(self._state), "utf-8")
            new.replace(self._file)


def _public(customer: Object) -> Object:
    return {name: value for name, value in customer.items() if name[0] != "_"}


def _refuse(decline: Decline | None) -> None:
    if decline is not None:
        raise StripeProblem(
            402,
            decline.message,
            type="card_error",
            code=decline.code,
            decline_code=decline.decline_code,
            param="cvc" if decline.code == "incorrect_cvc" else None,
        )


def _missing(param: str) -> StripeProblem:
    return StripeProblem(
        400, f"Missing required param: {param}.", code="parameter_missing", param=param
    )


def _no_such(kind: str, name: str, param: str, status: int) -> StripeProblem:
    return StripeProblem(status, f"No such {kind}: '{name}'", code="resource_missing", param=param)
