"""Calls and processes that come too late: a request that Stripe gets long after its caller left,
and a process that slept while others took its work over."""

import threading
from collections.abc import Callable

import pytest
from faults.auditor import living
from faults.call_faults import FAULTS, LATE, Fault
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.routes import saved_cards

from app.errors import CardRefused, StripeUnavailable, UsersApiError

OpenInstance = Callable[..., Instance]


def facts(instance: Instance) -> tuple[object, ...]:
    """Return what a user's row says of its customer."""
    row = instance.row()
    return row.stripe_customer_id, row.token_hash, row.last_updated, row.attempt_id


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("in_between", ["nothing", "another card", "a refused card"])
def test_call_that_arrives_after_its_retry(
    instance: Instance, fake_stripe: FakeStripe, has_customer: bool, in_between: str
) -> None:
    """It is replayed, not executed, whatever happened since."""
    if has_customer:
        instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    fake_stripe.fail(LATE)
    instance.save(token)
    if in_between == "another card":
        instance.save(fake_stripe.account.token())
    elif in_between == "a refused card":
        with pytest.raises(CardRefused):
            instance.save(fake_stripe.account.token("card_declined"))
    fake_stripe.release_and_wait()
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_refused_call_that_arrives_again_late(
    instance: Instance, fake_stripe: FakeStripe, has_customer: bool
) -> None:
    """A refusal is kept under its key: the late call makes nothing of it."""
    if has_customer:
        instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token("card_declined")
    fake_stripe.fail(LATE)
    with pytest.raises(CardRefused):
        instance.save(token)
    # The bank has changed its mind.
    fake_stripe.account.tokens[token] = None
    if token in fake_stripe.account.payment_methods.by_id:
        fake_stripe.account.payment_methods.by_id[token].decline = None
    fake_stripe.release_and_wait()
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("token", ["tok_visa", ""], ids=["for any use", "for one use"])
@pytest.mark.parametrize("hold", ["before", "during"])
@pytest.mark.parametrize(
    "bad_day",
    [
        FAULTS["500"],
        FAULTS["429"],
        FAULTS["503"],
        FAULTS["409"],
    ],
    ids=["500", "429", "503", "409"],
)
def test_failure_told_while_the_first_call_is_still_under_way(
    instance: Instance, fake_stripe: FakeStripe, token: str, hold: str, bad_day: Fault
) -> None:
    """What fails before Stripe looks at the key says nothing of the call that it holds."""
    token = token or fake_stripe.account.token()
    fake_stripe.fail(Fault(hold=hold))  # type: ignore[arg-type]
    fake_stripe.fail(bad_day, times=3)
    for _ in range(3):
        try:
            instance.save(token)
        except UsersApiError:
            continue
        break
    fake_stripe.release_and_wait()
    fake_stripe.heal()
    instance.complete()
    assert all(len(ids) == 1 for ids in living(fake_stripe.account).values()), living(
        fake_stripe.account
    )
    assert not instance.audit().orphans


@pytest.mark.all_routes
def test_process_that_slept_before_its_call(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """Its attempt was finished by another, and a newer card was saved: it changes nothing."""
    sleeper, other = open_instance(call=5.0, request=10.0), open_instance()
    old, new = fake_stripe.account.token(), fake_stripe.account.token()
    asleep, awake = threading.Event(), threading.Event()

    def sleep() -> None:
        asleep.set()
        assert awake.wait(10)

    sleeper.crashes.pauses["call.before"] = sleep
    outcome: list[object] = []

    def request() -> None:
        try:
            outcome.append(sleeper.save(old))
        except UsersApiError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=request)
    thread.start()
    assert asleep.wait(10)
    other.let_leases_expire()
    other.save(new)
    awake.set()
    thread.join(10)
    assert other.audit().is_clean, other.audit()
    assert saved_cards(fake_stripe.account) == [old, new]
    # Its card was saved and replaced since: either may be told, but no failure of ours.
    assert outcome in ([other.row().stripe_customer_id], ["token_already_used"])


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("arrow", ["accept", "refuse", "renew", "restart", "release"])
def test_process_that_slept_before_it_wrote(
    open_instance: OpenInstance, fake_stripe: FakeStripe, arrow: str
) -> None:
    """What it knows is old: the guard lets it change nothing."""
    sleeper, other = open_instance(call=5.0, request=10.0), open_instance()
    other.save(fake_stripe.account.token())
    old = fake_stripe.account.token("card_declined" if arrow == "refuse" else None)
    if arrow in ("renew", "release"):
        fake_stripe.fail(FAULTS["503"], times=1 if arrow == "renew" else 3)
    elif arrow == "restart":
        fake_stripe.fail(FAULTS["500 kept"])
    new = fake_stripe.account.token()
    asleep, awake = threading.Event(), threading.Event()

    def sleep() -> None:
        asleep.set()
        assert awake.wait(10)

    sleeper.crashes.pauses[f"{arrow}.at"] = sleep
    outcome: list[object] = []

    def request() -> None:
        try:
            outcome.append(sleeper.customers.save_card(sleeper.user(), old))
        except UsersApiError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=request)
    thread.start()
    assert asleep.wait(10)
    fake_stripe.heal()
    other.let_leases_expire()
    other.save(new)
    before = facts(other)
    awake.set()
    thread.join(10)
    assert outcome
    assert facts(other) == before
    assert other.audit().is_clean, other.audit()


@pytest.mark.all_routes(long=True)
def test_unknown_outcome_is_reported_to_both_requests(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Neither gets a final failure while Stripe may still execute the call."""
    token = fake_stripe.account.token()
    fake_stripe.fail(LATE, times=None)
    for _ in range(2):
        with pytest.raises(StripeUnavailable):
            instance.save(token)
    fake_stripe.release_and_wait()
    fake_stripe.heal()
    instance.save(token)
    assert saved_cards(fake_stripe.account) == [token]
    assert instance.audit().is_clean, instance.audit()
