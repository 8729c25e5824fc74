"""A process ends at any point of the rule, in-process and on both databases.

The same with real processes and SIGKILL is in `test_kills.py`, and in any order in `test_model.py`.
"""

import contextlib
from collections.abc import Callable

import pytest
from faults.double import Double
from faults.house import Crash, House
from faults.scripted import FAULTS

from app.errors import CardRefused, TokenRefused

pytestmark = pytest.mark.all_routes
OpenHouse = Callable[..., House]

# Passed by every request that succeeds.
ALWAYS = [
    f"{arrow}.{when}" for arrow in ("claim", "call", "accept") for when in ("before", "after")
]


def crash(house: House, point: str, token: str, subject: str = "user-1") -> None:
    """Send a request and let the process end at a point."""
    house.crashes.point = point
    with pytest.raises(Crash):
        house.save(token, subject)


@pytest.mark.parametrize("point", ALWAYS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("who", ["the same request", "another card", "the completer"])
def test_crash_is_mended_by_whoever_comes_next(
    open_house: OpenHouse, double: Double, point: str, has_customer: bool, who: str
) -> None:
    """Whoever comes next finishes what was begun; there is one customer, and no rest is left."""
    doomed, heir = open_house(), open_house()
    before = doomed.save(double.account.token()) if has_customer else None
    token = double.account.token()
    crash(doomed, point, token)
    heir.let_leases_expire()
    if who == "the completer":
        heir.complete()
    customer_id = heir.save(token if who == "the same request" else double.account.token())
    assert before in (None, customer_id)
    assert len(double.account.live()) == 1
    assert heir.audit().is_clean, heir.audit()


@pytest.mark.parametrize(
    ("arrow", "fault"),
    [
        ("renew", "500 kept and executed"),
        ("renew", "reset after execution"),
        ("renew", "reset before execution"),
        ("restart", "500 kept"),
        ("release", "500 kept"),
        ("release", "reset after execution"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_crash_on_a_bad_day_of_stripes(
    open_house: OpenHouse,
    double: Double,
    arrow: str,
    when: str,
    fault: str,
    has_customer: bool,
    route: str,
) -> None:
    """Fault and crash together: still one customer, and the same request converges."""
    doomed, heir = open_house(), open_house()
    before = doomed.save(double.account.token()) if has_customer else None
    token = double.account.token()
    double.fail(FAULTS[fault], times=None)
    crash(doomed, f"{arrow}.{when}", token)
    double.heal()
    heir.let_leases_expire()
    if route in ("token", "mixed") and fault == "500 kept and executed":
        # The PaymentMethod that was made of a token cannot be found again, if there is one: it is
        # attached to nobody, and the user is asked for another card.
        with contextlib.suppress(TokenRefused):
            heir.save(token)
        double.account.payment_methods.discard_loose()
        token = double.account.token()
    customer_id = heir.save(token)
    assert before in (None, customer_id)
    assert len(double.account.live()) == 1
    assert heir.audit().is_clean, heir.audit()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_crash_while_a_refusal_is_put_down(
    open_house: OpenHouse, double: Double, when: str, has_customer: bool
) -> None:
    """The card is refused whoever asks, and what there was stays."""
    doomed, heir = open_house(), open_house()
    before = doomed.save(double.account.token()) if has_customer else None
    token = double.account.token("card_declined")
    crash(doomed, f"refuse.{when}", token)
    heir.let_leases_expire()
    # A token that became a PaymentMethod before its card was refused is used up.
    with pytest.raises((CardRefused, TokenRefused)):
        heir.save(token)
    assert heir.row().stripe_customer_id == before
    assert heir.audit().is_clean, heir.audit()


def test_crash_after_crash(open_house: OpenHouse, double: Double) -> None:
    """Each heir dies in turn, at each point: the last one finds one customer."""
    token = double.account.token()
    for point in (
        "claim.after",
        "take_over.before",
        "take_over.after",
        "call.before",
        "call.after",
    ):
        heir = open_house()
        heir.let_leases_expire()
        crash(heir, point, token)
    last = open_house()
    last.let_leases_expire()
    last.save(token)
    assert len(double.account.live()) == 1
    assert len({entry.key for entry in double.account.ledger}) == len(double.account.ledger)
    assert last.audit().is_clean, last.audit()
