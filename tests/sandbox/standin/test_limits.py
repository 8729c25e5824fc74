"""Stripe's rate limits (https://docs.stripe.com/rate-limits)."""

import contextlib

import pytest
from support.stripe_sdk import Sdk

from app.sandbox.standin.limits import LIVE, SANDBOX, Limiter, Limits
from app.sandbox.standin.problems import StripeProblem
from app.sandbox.standin.server import StandIn


def admitted(limiter: Limiter, operations: list[str]) -> int:
    """Return how many of the requests are executed before one is refused."""
    executed = 0
    with contextlib.suppress(StripeProblem):
        for operation in operations:
            limiter.admit(operation)
            executed += 1
    return executed


def test_limits_are_those_of_stripe() -> None:
    """Live 100 a second in all and 25 of each operation; 25 in all in a sandbox."""
    assert (Limits(100, 25), Limits(25, 25)) == (LIVE, SANDBOX)


@pytest.mark.parametrize(
    ("limits", "operations", "executed"),
    [
        (LIVE, ["create"] * 30, 25),
        (LIVE, [f"{number % 10}" for number in range(120)], 100),
        (SANDBOX, [f"{number % 10}" for number in range(120)], 25),
        (None, ["create"] * 300, 300),
    ],
)
def test_so_many_requests_a_second(
    limits: Limits | None, operations: list[str], executed: int
) -> None:
    assert admitted(Limiter(limits, clock=lambda: 5.0), operations) == executed


def test_limit_counts_the_second_before() -> None:
    now = [5.0]
    limiter = Limiter(Limits(account=2, operation=2), clock=lambda: now[0])
    assert admitted(limiter, ["create"] * 3) == 2
    now[0] += 0.99
    assert admitted(limiter, ["create"]) == 0
    now[0] += 0.01
    assert admitted(limiter, ["create"] * 3) == 2


def test_refused_request_says_so_and_is_not_kept() -> None:
    """The same key works later; a replay counts as a request, too."""
    with StandIn(limits=Limits(account=3, operation=2)) as standin:
        sdk = Sdk(standin.url)
        sdk.customer()
        sdk.customer()
        error = sdk.refused("customers", 429, idempotency_key="k")
        assert (error["type"], error["code"]) == ("invalid_request_error", "rate_limit")
        assert sdk.headers["stripe-should-retry"] == "false"
        assert sdk.headers["stripe-rate-limited-reason"] == "endpoint-rate"
        sdk.get("customers")
        error = sdk.not_found("customers", 429)
        assert sdk.headers["stripe-rate-limited-reason"] == "global-rate"
        standin.account.limiter = Limiter()
        assert sdk.post("customers", key="k")
        assert "idempotent-replayed" not in sdk.headers
