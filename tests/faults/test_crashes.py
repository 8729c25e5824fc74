"""A process ends at any point of the rule, in-process and on both databases.

The same with real processes and SIGKILL is in `test_kills.py`, and in any order in `test_model.py`.
"""

import contextlib
from collections.abc import Callable

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Crash, Instance

from app.errors import CardRefused, TokenRefused

pytestmark = pytest.mark.all_routes
OpenInstance = Callable[..., Instance]

# Passed by every request that succeeds.
ALWAYS = [
    f"{arrow}.{when}" for arrow in ("claim", "call", "accept") for when in ("before", "after")
]


def crash(instance: Instance, point: str, token: str, subject: str = "user-1") -> None:
    """Send a request and let the process end at a point."""
    instance.crashes.point = point
    with pytest.raises(Crash):
        instance.save(token, subject)


@pytest.mark.parametrize("point", ALWAYS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("who", ["the same request", "another card", "the completer"])
def test_crash_is_recovered_by_the_next_process(
    open_instance: OpenInstance, fake_stripe: FakeStripe, point: str, has_customer: bool, who: str
) -> None:
    """It completes the attempt; there is one customer, and no data of the attempt is left."""
    crashing, successor = open_instance(), open_instance()
    before = crashing.save(fake_stripe.account.token()) if has_customer else None
    token = fake_stripe.account.token()
    crash(crashing, point, token)
    successor.let_leases_expire()
    if who == "the completer":
        successor.complete()
    customer_id = successor.save(
        token if who == "the same request" else fake_stripe.account.token()
    )
    assert before in (None, customer_id)
    assert len(fake_stripe.account.live()) == 1
    assert successor.audit().is_clean, successor.audit()


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
    open_instance: OpenInstance,
    fake_stripe: FakeStripe,
    arrow: str,
    when: str,
    fault: str,
    has_customer: bool,
    route: str,
) -> None:
    """Fault and crash together: still one customer, and the same request converges."""
    crashing, successor = open_instance(), open_instance()
    before = crashing.save(fake_stripe.account.token()) if has_customer else None
    token = fake_stripe.account.token()
    fake_stripe.fail(FAULTS[fault], times=None)
    crash(crashing, f"{arrow}.{when}", token)
    fake_stripe.heal()
    successor.let_leases_expire()
    if route in ("token", "mixed") and fault == "500 kept and executed":
        # The PaymentMethod that was made of a token cannot be found again, if there is one: it is
        # not attached, and the user is asked for another card.
        with contextlib.suppress(TokenRefused):
            successor.save(token)
        fake_stripe.account.payment_methods.discard_loose()
        token = fake_stripe.account.token()
    customer_id = successor.save(token)
    assert before in (None, customer_id)
    assert len(fake_stripe.account.live()) == 1
    assert successor.audit().is_clean, successor.audit()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_crash_while_a_refusal_is_stored(
    open_instance: OpenInstance, fake_stripe: FakeStripe, when: str, has_customer: bool
) -> None:
    """The card is refused to each later request, and the stored customer stays."""
    crashing, successor = open_instance(), open_instance()
    before = crashing.save(fake_stripe.account.token()) if has_customer else None
    token = fake_stripe.account.token("card_declined")
    crash(crashing, f"refuse.{when}", token)
    successor.let_leases_expire()
    # A token that became a PaymentMethod before its card was refused is used up.
    with pytest.raises((CardRefused, TokenRefused)):
        successor.save(token)
    assert successor.row().stripe_customer_id == before
    assert successor.audit().is_clean, successor.audit()


def test_crash_after_crash(open_instance: OpenInstance, fake_stripe: FakeStripe) -> None:
    """Each successor crashes in turn, at each point; the last one finds one customer."""
    token = fake_stripe.account.token()
    for point in (
        "claim.after",
        "take_over.before",
        "take_over.after",
        "call.before",
        "call.after",
    ):
        successor = open_instance()
        successor.let_leases_expire()
        crash(successor, point, token)
    last = open_instance()
    last.let_leases_expire()
    last.save(token)
    assert len(fake_stripe.account.live()) == 1
    assert len({entry.key for entry in fake_stripe.account.ledger}) == len(
        fake_stripe.account.ledger
    )
    assert last.audit().is_clean, last.audit()
