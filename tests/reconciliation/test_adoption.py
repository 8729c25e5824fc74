"""A user's row may change between the moment it is read and the moment it gets its customer."""

from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from support.reconciling import forget_row, reconcile, stray_of, told

from app.reconciliation.ownership import Ownership


def before(monkeypatch: pytest.MonkeyPatch, house: House, method: str, token: str) -> None:
    """Let the user save a card just before the method of `Ownership` runs."""
    real = getattr(Ownership, method)

    def run(*args: Any) -> Any:
        house.save(token)
        return real(*args)

    monkeypatch.setattr(Ownership, method, run)


def test_user_who_comes_back_before_the_row_is_inserted(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.save(double.account.token())
    forget_row(house)
    before(monkeypatch, house, "insert", double.account.token())
    found = told(reconcile(house))
    assert [one[2] for one in found] == [True], found


def test_user_who_saves_a_card_before_the_row_gets_its_customer(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.account.delete(house.save(double.account.token()))
    stray_of(house)
    before(monkeypatch, house, "give", double.account.token())
    found = told(reconcile(house))
    assert [one[2] for one in found] == [True], found
