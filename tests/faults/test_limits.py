"""Limits on refused cards, by user and by partner, within a sliding window."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from sqlalchemy import text

from app.errors import CardRefused, StripeUnavailable, TokenRefused, TooManyAttempts, UsersApiError
from app.storage.tables import refusals

OpenInstance = Callable[..., Instance]
WINDOW = 3600.0


def be_refused(instance: Instance, fake_stripe: FakeStripe, subject: str = "user-1") -> None:
    with pytest.raises(CardRefused):
        instance.save(fake_stripe.account.token("card_declined"), subject)


def be_stopped(instance: Instance, fake_stripe: FakeStripe, subject: str = "user-1") -> None:
    """Expect a refusal without a call to Stripe, and with `Retry-After`."""
    calls = len(fake_stripe.calls)
    with pytest.raises(TooManyAttempts) as error:
        instance.save(fake_stripe.account.token(), subject)
    assert error.value.retry_after
    assert 0 < error.value.retry_after <= WINDOW
    assert len(fake_stripe.calls) == calls
    assert instance.audit().is_clean, instance.audit()


def let_pass(instance: Instance, seconds: float) -> None:
    """Set all refusals back by a time."""
    with instance.database.writing() as connection:
        connection.execute(refusals.update().values(refused_at=refusals.c.refused_at - seconds))


def test_window_slides(open_instance: OpenInstance, fake_stripe: FakeStripe) -> None:
    """Each refusal counts for as long as the window is, and not from one full hour to the next."""
    instance = open_instance(per_user=2)
    be_refused(instance, fake_stripe)
    let_pass(instance, WINDOW - 100)
    be_refused(instance, fake_stripe)
    be_stopped(instance, fake_stripe)
    let_pass(instance, 200)
    be_refused(instance, fake_stripe)
    be_stopped(instance, fake_stripe)
    let_pass(instance, WINDOW)
    instance.save(fake_stripe.account.token())


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_limit_of_a_partner(
    open_instance: OpenInstance, fake_stripe: FakeStripe, has_customer: bool
) -> None:
    """It is that of all its users, new ones and old; each process counts those of all."""
    instance, other = open_instance(per_partner=3), open_instance(per_partner=3)
    if has_customer:
        instance.save(fake_stripe.account.token(), "user-9")
    for number in range(3):
        be_refused(instance if number % 2 else other, fake_stripe, f"user-{number}")
    be_stopped(instance, fake_stripe, "user-9")
    be_stopped(other, fake_stripe, "user-9")
    let_pass(instance, WINDOW)
    instance.save(fake_stripe.account.token(), "user-9")


def test_only_refused_cards_count(open_instance: OpenInstance, fake_stripe: FakeStripe) -> None:
    """Not tokens that are unknown, nor what Stripe failed at."""
    instance = open_instance(per_user=1)
    for _ in range(3):
        with pytest.raises(TokenRefused):
            instance.save("tok_unknown")
    fake_stripe.fail(FAULTS["503"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(token := fake_stripe.account.token())
    fake_stripe.heal()
    instance.save(token)


def test_latest_card_is_replayed_beyond_the_limit(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """The same request gets the same response: it tries no card."""
    instance = open_instance(per_user=1)
    token = fake_stripe.account.token()
    customer_id = instance.save(token)
    be_refused(instance, fake_stripe)
    assert instance.save(token) == customer_id
    be_stopped(instance, fake_stripe)


def test_what_is_open_is_finished_beyond_the_limit(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """A limit that was reached meanwhile leaves no customer without its user."""
    instance = open_instance(per_partner=1)
    token = fake_stripe.account.token()
    fake_stripe.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    fake_stripe.heal()
    be_refused(instance, fake_stripe, "user-2")
    instance.save(token)
    be_stopped(instance, fake_stripe)


def test_limit_holds_for_many_at_once(open_instance: OpenInstance, fake_stripe: FakeStripe) -> None:
    """One user's cards are tried one after the other, so Stripe sees none beyond the limit."""
    instances = [open_instance(call=5.0, request=20.0, lease=30.0, per_user=3) for _ in range(2)]
    instances[0].user()

    def one(number: int) -> str:
        with pytest.raises(UsersApiError) as error:
            instances[number % 2].save(fake_stripe.account.token("card_declined"))
        return error.value.code

    with ThreadPoolExecutor(12) as threads:
        actual = list(threads.map(one, range(12)))
    assert sorted(actual) == ["card_declined"] * 3 + ["too_many_attempts"] * 9
    assert len(fake_stripe.calls) == 3


def test_limit_holds_after_waiting_for_a_lock(postgresql_url: str, fake_stripe: FakeStripe) -> None:
    """PostgreSQL counts as of when a statement began, though it goes on with the row as it is."""
    with (
        Instance(
            postgresql_url, fake_stripe, call=5.0, request=20.0, lease=30.0, per_user=1
        ) as instance,
        ThreadPoolExecutor(1) as threads,
    ):
        another: list[Future[None]] = []

        def let_another_wait() -> None:
            another.append(threads.submit(be_stopped, instance, fake_stripe))
            until = time.monotonic() + 20.0
            while not waits_for_a_lock(instance):
                assert time.monotonic() < until

        instance.crashes.pauses["refuse.before"] = let_another_wait
        be_refused(instance, fake_stripe)
        another[0].result(20.0)


def waits_for_a_lock(instance: Instance) -> bool:
    """Return whether a statement waits for another's transaction to end."""
    query = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    with instance.database.engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())
