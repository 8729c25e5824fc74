"""`reconcile` and `import` with a fake Stripe, on both databases."""

import pytest
from customers.conftest import *  # noqa: F403 - fixtures, by its `__all__`


@pytest.fixture(autouse=True)
def short_pauses_of_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between repeated calls of `reconcile` and `import`, and their timeouts."""
    monkeypatch.setattr("app.reconciliation.paced_account.PAUSES", (0.01, 0.01))
