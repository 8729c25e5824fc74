"""Idempotency keys of the stand-in (https://docs.stripe.com/api/idempotent_requests)."""

from typing import NamedTuple

from app.sandbox.standin.problems import Object, StripeProblem
from app.sandbox.standin.state import State

LIFETIME = 24 * 3600
# Stripe keeps no answer to a request that it did not begin to execute: without a key of Stripe's
# account or a right of it, in conflict with another one, or above a limit.
NOT_KEPT = frozenset({401, 403, 409, 429, 503})
NOT_KEPT_CODES = frozenset(
    {"parameter_unknown", "parameter_missing", "parameter_invalid_empty", "token_in_use"}
)


class Kept(NamedTuple):
    """What was answered to the first request under a key."""

    status: int
    body: Object
    headers: dict[str, str]
    request_id: str


class Keys:
    """The answers by idempotency key."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._running: set[str] = set()

    def begin(self, key: str, request: str) -> Kept | None:
        """Begin a request under a key, or return what was answered to it before.

        Raises:
            StripeProblem: the key was used for another request, or its request still runs.
        """
        with self._state.lock:
            kept = self._state.keys.get(key)
            if kept and kept["at"] > self._state.clock() - LIFETIME:
                if kept["request"] != request:
                    raise StripeProblem(
                        400,
                        "Keys for idempotent requests can only be used with the same parameters"
                        " they were first used with.",
                        type="idempotency_error",
                    )
                first = kept.get("request_id", "req_standin_first")
                return Kept(kept["status"], kept["body"], kept.get("headers", {}), first)
            if key in self._running:
                raise StripeProblem(
                    409,
                    "There is currently another in-progress request using this idempotency key.",
                    type="idempotency_error",
                    code="idempotency_key_in_use",
                )
            self._running.add(key)
        return None

    def end(self, key: str, request: str, answer: Kept) -> None:
        """End a request under a key, and keep its answer."""
        with self._state.lock:
            self._running.discard(key)
            code = answer.body.get("error", {}).get("code")
            if answer.status not in NOT_KEPT and code not in NOT_KEPT_CODES:
                self._state.keys[key] = {
                    "request": request,
                    "status": answer.status,
                    "body": answer.body,
                    "headers": answer.headers,
                    "request_id": answer.request_id,
                    "at": self._state.clock(),
                }
                self._state.keep()
