"""An account at a Stripe that answers as a test says."""

from collections.abc import Iterator

import pytest
from stripe_account.calls import KEY, Calls
from support.scripted_stripe import ScriptedStripe

from app.stripe_account.account import StripeAccount


@pytest.fixture
def stripe() -> Iterator[ScriptedStripe]:
    running = ScriptedStripe()
    yield running
    running.close()


@pytest.fixture
def seen() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def alarms() -> list[str]:
    return []


@pytest.fixture
def calls(
    stripe: ScriptedStripe, seen: list[tuple[str, str]], alarms: list[str]
) -> Iterator[Calls]:
    account = StripeAccount(
        KEY,
        stripe.url,
        observe=lambda call, outcome, _seconds: seen.append((call, outcome)),
        refused=alarms.append,
    )
    yield Calls(account)
    account.close()
