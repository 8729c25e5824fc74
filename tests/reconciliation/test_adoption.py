"""A user's row may change between the moment it is read and the moment it gets its customer."""

from typing import Any

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import forget_row, reconcile, stray_of, summaries

from app.reconciliation.ownership import Ownership


def before(monkeypatch: pytest.MonkeyPatch, instance: Instance, method: str, token: str) -> None:
    """Save a card of the user just before the method of `Ownership` runs."""
    real = getattr(Ownership, method)

    def run(*args: Any) -> Any:
        instance.save(token)
        return real(*args)

    monkeypatch.setattr(Ownership, method, run)


def test_user_who_comes_back_before_the_row_is_inserted(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.save(fake_stripe.account.token())
    forget_row(instance)
    before(monkeypatch, instance, "insert", fake_stripe.account.token())
    found = summaries(reconcile(instance))
    assert [one[2] for one in found] == [True], found


def test_user_who_saves_a_card_before_the_row_gets_its_customer(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_stripe.account.delete(instance.save(fake_stripe.account.token()))
    stray_of(instance)
    before(monkeypatch, instance, "give", fake_stripe.account.token())
    found = summaries(reconcile(instance))
    assert [one[2] for one in found] == [True], found
