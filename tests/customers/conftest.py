"""The rule with a double of Stripe, on both databases."""

import pytest
from faults.conftest import (
    double,
    house,
    open_house,
    postgresql_url,
    short_pauses,
    sqlite_url,
    url,
)

__all__ = [
    "double",
    "house",
    "open_house",
    "postgresql_url",
    "route",
    "short_pauses",
    "sqlite_url",
    "url",
]


@pytest.fixture
def route() -> str:
    """Return how cards are saved: what `reconcile` and `import` do does not depend on it."""
    return "source"
