"""Idempotency keys (https://docs.stripe.com/api/idempotent_requests)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe
from support.stripe_sdk import Sdk

from app.sandbox.standin.keys import Kept, Keys
from app.sandbox.standin.server import StandIn
from app.sandbox.standin.state import State


def test_key_replays_what_was_answered_first(sdk: Sdk) -> None:
    """With a new request id, and the one of the first."""
    token = sdk.token()
    first = sdk.post("customers", source=token, key="k1")
    answered = sdk.headers
    assert "idempotent-replayed" not in answered
    assert sdk.post("customers", source=token, key="k1") == first
    assert sdk.headers["idempotent-replayed"] == "true"
    assert sdk.headers["original-request"] == answered["request-id"]
    assert sdk.headers["request-id"] != answered["request-id"]
    assert len(sdk.get("customers")["data"]) == 1


def test_key_replays_a_refusal(sdk: Sdk) -> None:
    for replayed in (None, "true"):
        sdk.refused("customers", 402, source="tok_chargeDeclined", idempotency_key="k")
        assert sdk.headers.get("idempotent-replayed") == replayed
        assert sdk.headers["stripe-should-retry"] == "false"


def test_key_with_other_parameters_is_a_mismatch(sdk: Sdk) -> None:
    sdk.post("customers", email="a@example.com", key="k")
    with pytest.raises(stripe.IdempotencyError):
        sdk.post("customers", email="b@example.com", key="k")


@pytest.mark.usefixtures("off_document")
def test_key_does_not_keep_what_was_never_begun(sdk: Sdk) -> None:
    sdk.refused("customers", 400, odd="1", idempotency_key="k")
    sdk.post("customers", key="k")


def test_key_in_use_is_a_conflict(sdk: Sdk, standin: StandIn) -> None:
    assert standin.account.keys.begin("busy", "a request that is under way") is None
    error = sdk.refused("customers", 409, idempotency_key="busy")
    assert error["code"] == "idempotency_key_in_use"


def test_key_is_forgotten_after_a_day() -> None:
    now = [1000.0]
    keys = Keys(State(clock=lambda: now[0]))
    kept = Kept(200, {}, {}, "req_1")
    keys.end("k", "r", kept)
    now[0] += 24 * 3600 - 1
    assert keys.begin("k", "r") == kept
    now[0] += 1
    assert keys.begin("k", "r") is None


def test_requests_at_the_same_time_are_one(standin: StandIn) -> None:
    """With one key: one customer, whatever the others are answered."""

    def create(_: int) -> str:
        try:
            return str(Sdk(standin.url).post("customers", key="k")["id"])
        except stripe.APIError:
            return "in use"

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(create, range(16)))
    assert len(answers - {"in use"}) == 1
    assert len(Sdk(standin.url).get("customers")["data"]) == 1
