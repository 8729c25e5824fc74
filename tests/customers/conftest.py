"""The rule with a double of Stripe, on both databases."""

import pytest
from faults.conftest import (
    double,
    house,
    open_house,
    postgresql_url,
    short_pauses,
    sqlite_template,
    sqlite_url,
    url,
)

__all__ = [
    "double",
    "house",
    "open_house",
    "postgresql_url",
    "short_pauses",
    "sqlite_template",
    "sqlite_url",
    "url",
]


@pytest.fixture
def route() -> str:
    """Return how cards are saved: what `reconcile` and `import` do does not depend on it."""
    return "source"


@pytest.fixture(autouse=True)
def short_pauses_of_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `reconcile` and `import` repeat a call soon, and give up soon."""
    monkeypatch.setattr("app.customers.paced_account.PAUSES", (0.01, 0.01))
