"""Faults of the database at each transition of a row, and the recovery from each."""

import contextlib
from collections.abc import Callable

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance

from app.customers.steps import Cards
from app.errors import CardRefused, StorageUnavailable, StripeUnavailable

# Those that end or begin the forgetting of a user; the others are passed by a save.
FORGETTING = ("claim_to_forget", "erase")
TRANSITIONS = (
    *("claim", "take_over", "renew", "extend", "advance", "restart", "accept", "refuse"),
    *("withdraw", "release", *FORGETTING),
)
# Those that few saves pass.
SELDOM = ("extend", "advance", *FORGETTING)
# How tokens are saved, so that a save passes the transition.
CARDS: dict[str, Cards] = {"advance": "payment_method"}
# What a request is answered if the trouble is over in time: each transition is stored again, for a
# claim only if its outcome is unknown.
STORE = {
    "claim": None,
    "take_over": None,
    "renew": None,
    "extend": None,
    "advance": None,
    "restart": None,
    "accept": None,
    "refuse": CardRefused,
    "withdraw": StripeUnavailable,
    "release": StripeUnavailable,
    "erase": None,
}
DatabaseFault = Callable[[], contextlib.AbstractContextManager[None]]


def arrive_at(instance: Instance, fake_stripe: FakeStripe, transition: str) -> str:
    """Script Stripe so that the next request passes the transition; returns its token."""
    token = fake_stripe.account.token("card_declined" if transition == "refuse" else None)
    if transition == "take_over":
        fake_stripe.fail(FAULTS["reset after execution"], times=None)
        with pytest.raises(StripeUnavailable):
            instance.save(token)
        fake_stripe.heal()
    elif transition == "renew":
        # Not a reset: libcurl itself repeats what a kept connection did not carry.
        fake_stripe.fail(FAULTS["503 executed"])
    elif transition in ("extend", "restart"):
        # A look-up follows: for one more call the lease is extended, and it finds nothing.
        fake_stripe.fail(FAULTS["500 kept"])
    elif transition == "release":
        fake_stripe.fail(FAULTS["reset after execution"], times=None)
    elif transition == "withdraw":
        fake_stripe.fail(FAULTS["429"])
    return token


def check(
    instance: Instance,
    fake_stripe: FakeStripe,
    has_customer: bool,
    transition: str,
    point: str,
    fault: DatabaseFault,
    *,
    is_brief: bool = False,
) -> None:
    """Cause a fault at a transition, and check that the request and the row recover."""
    if transition in FORGETTING:
        check_forgetting(instance, fake_stripe, has_customer, transition, point, fault, is_brief)
        return
    instance.save(fake_stripe.account.token(), "another user")
    before = instance.save(fake_stripe.account.token()) if has_customer else None
    token = arrive_at(instance, fake_stripe, transition)
    with contextlib.ExitStack() as lasting:
        instance.crashes.pauses[f"{transition}.{point}"] = lambda: lasting.enter_context(fault())
        expected = STORE[transition] if is_brief else StorageUnavailable
        with pytest.raises(expected) if expected else contextlib.nullcontext():
            instance.save(token)
    assert not instance.crashes.pauses
    fake_stripe.heal()
    instance.let_leases_expire()
    if transition == "refuse":
        with pytest.raises(CardRefused):
            instance.save(token)
        assert instance.row().stripe_customer_id == before
        token = fake_stripe.account.token()
    customer_id = instance.save(token)
    assert before in (None, customer_id)
    assert len(fake_stripe.account.live()) == 2
    assert instance.audit().is_clean, instance.audit()


def check_forgetting(
    instance: Instance,
    fake_stripe: FakeStripe,
    has_customer: bool,
    transition: str,
    point: str,
    fault: DatabaseFault,
    is_brief: bool,
) -> None:
    """Cause a fault while a user is forgotten; repeated, the command forgets the user."""
    kept = instance.save(fake_stripe.account.token(), "another user")
    if has_customer:
        instance.save(fake_stripe.account.token())
    else:
        with pytest.raises(CardRefused):
            instance.save(fake_stripe.account.token("card_declined"))
    user_id = instance.row().id
    with contextlib.ExitStack() as lasting:
        instance.crashes.pauses[f"{transition}.{point}"] = lambda: lasting.enter_context(fault())
        is_stored_again = is_brief and transition in STORE
        with contextlib.nullcontext() if is_stored_again else pytest.raises(StorageUnavailable):
            instance.forgetting.forget(user_id)
    assert not instance.crashes.pauses
    instance.let_leases_expire()
    instance.forgetting.forget(user_id)
    assert instance.attempts.get_by_id(user_id) is None
    assert [one.id for one in fake_stripe.account.live()] == [kept]
    instance.acknowledged.pop("user-1", None)
    assert instance.audit().is_clean, instance.audit()
