"""Trouble with the database at each transition of a row, and what comes of it."""

import contextlib
from collections.abc import Callable

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS

from app.errors import CardRefused, StorageUnavailable, StripeUnavailable

ARROWS = ("claim", "take_over", "renew", "restart", "accept", "refuse", "withdraw", "release")
# What a request is answered if the trouble is over in time: each transition is stored again, for a
# claim only if its outcome is unknown.
STORE = {
    "claim": None,
    "take_over": None,
    "renew": None,
    "restart": None,
    "accept": None,
    "refuse": CardRefused,
    "withdraw": StripeUnavailable,
    "release": StripeUnavailable,
}
Trouble = Callable[[], contextlib.AbstractContextManager[None]]


def arrive_at(house: House, double: Double, arrow: str) -> str:
    """Script Stripe so that the next request passes the arrow; gives its token."""
    token = double.account.token("card_declined" if arrow == "refuse" else None)
    if arrow == "take_over":
        double.fail(FAULTS["reset after execution"], times=None)
        with pytest.raises(StripeUnavailable):
            house.save(token)
        double.heal()
    elif arrow == "renew":
        # Not a reset: libcurl itself repeats what a kept connection did not carry.
        double.fail(FAULTS["503 executed"])
    elif arrow == "restart":
        double.fail(FAULTS["500 kept"])
    elif arrow == "release":
        double.fail(FAULTS["reset after execution"], times=None)
    elif arrow == "withdraw":
        double.fail(FAULTS["429"])
    return token


def check(
    house: House,
    double: Double,
    has_customer: bool,
    arrow: str,
    point: str,
    trouble: Trouble,
    *,
    is_brief: bool = False,
) -> None:
    """Meet trouble at a transition, and recover from it."""
    house.save(double.account.token(), "somebody else")
    before = house.save(double.account.token()) if has_customer else None
    token = arrive_at(house, double, arrow)
    with contextlib.ExitStack() as lasting:
        house.crashes.pauses[f"{arrow}.{point}"] = lambda: lasting.enter_context(trouble())
        expected = STORE.get(arrow) if is_brief and arrow in STORE else StorageUnavailable
        with pytest.raises(expected) if expected else contextlib.nullcontext():
            house.save(token)
    assert not house.crashes.pauses
    double.heal()
    house.let_leases_expire()
    if arrow == "refuse":
        with pytest.raises(CardRefused):
            house.save(token)
        assert house.row().stripe_customer_id == before
        token = double.account.token()
    customer_id = house.save(token)
    assert before in (None, customer_id)
    assert len(double.account.live()) == 2
    assert house.audit().is_clean, house.audit()
