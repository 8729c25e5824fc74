"""The rule with a fake Stripe, on both databases."""

import pytest
from faults.conftest import (
    choose_cards,
    fake_stripe,
    instance,
    open_instance,
    postgresql_url,
    short_pauses,
    sqlite_url,
    tallied,
    url,
)

__all__ = [
    "choose_cards",
    "fake_stripe",
    "instance",
    "open_instance",
    "postgresql_url",
    "route",
    "short_pauses",
    "sqlite_url",
    "tallied",
    "url",
]


@pytest.fixture
def route() -> str:
    """Return how cards are saved: what `reconcile` and `import` do does not depend on it."""
    return "source"
