"""The stand-in, as the real SDK meets it over a socket."""

from collections.abc import Iterator

import httpx
import pytest
from support.stripe_sdk import Sdk

from app.sandbox.standin.server import StandIn


@pytest.fixture(scope="session")
def running() -> Iterator[StandIn]:
    """Return a stand-in for all tests of this folder: to start one takes longer than most tests."""
    with StandIn() as standin:
        yield standin


@pytest.fixture
def standin(running: StandIn) -> StandIn:
    """Return the stand-in, empty."""
    for kind in (
        running.account.state.customers,
        running.account.state.tokens,
        running.account.state.payment_methods,
        running.account.state.keys,
    ):
        kind.clear()
    return running


@pytest.fixture
def sdk(standin: StandIn) -> Sdk:
    """Return the SDK, pointed at the stand-in."""
    return Sdk(standin.url)


@pytest.fixture
def raw(standin: StandIn) -> Iterator[httpx.Client]:
    """Return a client for what the SDK cannot send."""
    headers = {"Authorization": "Bearer sk_test_x"}
    with httpx.Client(base_url=standin.url, headers=headers, trust_env=False) as http:
        yield http
