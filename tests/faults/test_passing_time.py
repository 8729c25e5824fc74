"""What time does: keys forgotten, customers gone, e-mails changed, clocks that differ."""

import contextlib
import time
from collections.abc import Callable

import pytest
from faults.call_faults import FAULTS, LATE, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.records import Customer
from faults.routes import is_unfindable, save_or_replace, saved_cards

from app.customers.attempts import Attempts
from app.customers.token_cipher import TokenCipher
from app.errors import StripeUnavailable, TokenRefused

OpenInstance = Callable[..., Instance]
DAY = 25 * 3600.0
GONE = Fault(executed=False, answer=stripe_error(404, "resource_missing", "id"))
GONE_AT_ATTACH = Fault(executed=False, answer=stripe_error(404, "resource_missing", "customer"))


def leave_open(
    instance: Instance, fake_stripe: FakeStripe, token: str, fault: str, **user: str
) -> None:
    """Leave an attempt open whose outcome only Stripe knows."""
    fake_stripe.fail(FAULTS[fault], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(token, **user)
    fake_stripe.heal()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("forgotten", [False, True], ids=["key known", "key forgotten"])
def test_key_older_than_a_day(
    instance: Instance, fake_stripe: FakeStripe, executed: bool, has_customer: bool, forgotten: bool
) -> None:
    """Stripe may run it as new, so it is looked for first: executed once, and found."""
    if has_customer:
        instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    leave_open(instance, fake_stripe, token, f"reset {'after' if executed else 'before'} execution")
    if forgotten:
        fake_stripe.account.forget_keys()
    instance.grow_old(DAY)
    save_or_replace(instance, token, executed and is_unfindable(instance.row()))
    assert len(saved_cards(fake_stripe.account)) == 1 + has_customer
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("token", ["tok_visa", None], ids=["for any use", "for one use"])
def test_completer_finishes_what_is_older_than_a_day(
    instance: Instance, fake_stripe: FakeStripe, token: str | None
) -> None:
    """With no caller, and with a token that Stripe would take again."""
    leave_open(instance, fake_stripe, token or fake_stripe.account.token(), "reset after execution")
    fake_stripe.account.forget_keys()
    instance.grow_old(DAY)
    is_lost = is_unfindable(instance.row())
    assert instance.complete() == 0
    assert len(fake_stripe.account.live()) == (0 if is_lost else 1)
    fake_stripe.account.payment_methods.discard_loose()
    assert instance.audit().is_clean, instance.audit()


def test_look_up_reads_all_pages_and_only_our_own(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """The customer is among thousands of others, some with metadata like ours."""
    token = fake_stripe.account.token()
    leave_open(instance, fake_stripe, token, "reset after execution")
    made = fake_stripe.account.live()[0].id
    attempt = instance.row().attempt_id
    for number in range(250):
        metadata = {"coord_attempt": f"{attempt}{number}", "coord_user": "1"} if number % 2 else {}
        one = Customer(f"cus_other{number}", int(time.time()), None, metadata, "tok_visa")
        fake_stripe.account.customers[one.id] = one
    fake_stripe.account.forget_keys()
    instance.grow_old(DAY)
    assert instance.save(token) == made


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("shift", [-60.0, 60.0])
def test_stripes_clock_differs_by_a_minute(
    instance: Instance, fake_stripe: FakeStripe, shift: float
) -> None:
    """What is looked for by creation time is found in spite of it."""
    fake_stripe.account.clock = lambda: time.time() + shift
    token = fake_stripe.account.token()
    leave_open(instance, fake_stripe, token, "reset after execution")
    fake_stripe.account.forget_keys()
    instance.grow_old(DAY)
    save_or_replace(instance, token, is_unfindable(instance.row()))
    assert len(saved_cards(fake_stripe.account)) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
def test_customer_deleted_at_stripe_is_replaced_by_one(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """At the user's next update, and not again at the one after."""
    first = instance.save(fake_stripe.account.token())
    fake_stripe.account.delete(first)
    second = instance.save(fake_stripe.account.token())
    assert second != first
    assert instance.save(fake_stripe.account.token()) == second
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes
@pytest.mark.parametrize("fault", ["reset after execution", "hangs before execution", "500 kept"])
def test_customer_deleted_while_an_update_is_open(
    instance: Instance, fake_stripe: FakeStripe, fault: str, route: str
) -> None:
    """Whatever became of the update, its user ends with one live customer."""
    first = instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    leave_open(instance, fake_stripe, token, fault)
    fake_stripe.account.delete(first)
    if fault == "reset after execution":
        # Stripe replays its earlier answer; this shows only at the next update. A
        # PaymentMethod that was attached is used up.
        with contextlib.nullcontext() if route == "source" else contextlib.suppress(TokenRefused):
            instance.save(token)
        token = fake_stripe.account.token()
    instance.save(token)
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("fault", ["reset before execution", "reset after execution", "500 kept"])
def test_fault_while_a_deleted_customer_is_replaced(
    instance: Instance, fake_stripe: FakeStripe, fault: str
) -> None:
    """The replacement is one customer too."""
    first = instance.save(fake_stripe.account.token())
    fake_stripe.account.delete(first)
    token = fake_stripe.account.token()
    fake_stripe.fail(FAULTS[fault], times=None, path="/v1/customers")
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    fake_stripe.heal()
    instance.save(token)
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
def test_customer_is_not_replaced_on_one_word_of_stripes(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """An update says gone, the customer says here: unknown, and no second customer."""
    first = instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    fake_stripe.fail(GONE, times=None, path=first)
    fake_stripe.fail(GONE_AT_ATTACH, times=None, path="/attach")
    with pytest.raises(StripeUnavailable):
        instance.save(token)
    fake_stripe.heal()
    assert instance.save(token) == first
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("fault", ["reset before execution", "reset after execution", "500 kept"])
def test_email_changed_between_retries(
    instance: Instance, fake_stripe: FakeStripe, fault: str
) -> None:
    """The retry sends what the first try sent, else its key would lock the user out."""
    token = fake_stripe.account.token()
    leave_open(instance, fake_stripe, token, fault, email="before@example.com")
    instance.save(token, email="after@example.com")
    assert fake_stripe.account.live()[0].email == "before@example.com"
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
def test_email_that_stripe_refuses_is_left_out(instance: Instance, fake_stripe: FakeStripe) -> None:
    """The card counts, not the address."""
    instance.save(fake_stripe.account.token(), email="no address")
    assert fake_stripe.account.live()[0].email is None
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
def test_parameters_of_another_version_under_the_same_key(
    instance: Instance, fake_stripe: FakeStripe, executed: bool
) -> None:
    """Stripe tells of a mismatch: what the old version made is found, else it is made once."""
    token = fake_stripe.account.token()
    leave_open(instance, fake_stripe, token, "reset after execution" if executed else "500 kept")
    instance.calls._installation = "of another version"
    if not executed:
        with pytest.raises(StripeUnavailable):
            instance.save(token)
        instance.grow_old(300)
    save_or_replace(instance, token, executed and is_unfindable(instance.row()))
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
def test_token_sealed_with_a_secret_that_is_no_more(
    instance: Instance, fake_stripe: FakeStripe, executed: bool
) -> None:
    """What Stripe did is found; else the user is asked for another token, but not too early."""
    token = fake_stripe.account.token()
    leave_open(instance, fake_stripe, token, f"reset {'after' if executed else 'before'} execution")
    instance.attempts._cipher = TokenCipher("sk_test_another")
    row = instance.row()
    # A PaymentMethod is no secret, so it is stored as it is.
    if row.step_payment_method or (executed and not is_unfindable(row)):
        instance.save(token)
        assert len(fake_stripe.account.live()) == 1
    else:
        with pytest.raises(StripeUnavailable):
            instance.save(token)
        instance.grow_old(300)
        with pytest.raises(TokenRefused):
            instance.save(token)
        instance.save(fake_stripe.account.token())
        fake_stripe.account.payment_methods.discard_loose()
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_token_of_another_key_whose_call_is_still_on_its_way(
    open_instance: OpenInstance, fake_stripe: FakeStripe, has_customer: bool
) -> None:
    """However old the attempt is, what an old process sent of it last may still be executed."""
    old, new = open_instance(), open_instance(secret="sk_test_another")
    if has_customer:
        old.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    leave_open(old, fake_stripe, token, "reset before execution")
    old.grow_old(300)
    fake_stripe.fail(LATE, times=None)
    with pytest.raises(StripeUnavailable):
        old.save(token)
    with pytest.raises(StripeUnavailable):
        new.save(token)
    fake_stripe.heal()
    fake_stripe.release_and_wait()
    is_lost = is_unfindable(new.row())
    if is_lost:
        new.grow_old(300)
    save_or_replace(new, token, is_lost)
    assert len(fake_stripe.account.live()) == 1
    assert new.audit().is_clean, new.audit()


@pytest.mark.all_routes
def test_two_completers_at_once(open_instance: OpenInstance, fake_stripe: FakeStripe) -> None:
    """They share the work, and no attempt is executed twice."""
    first, second = open_instance(), open_instance()
    tokens = {f"user-{number}": fake_stripe.account.token() for number in range(20)}
    for subject, token in tokens.items():
        first.attempts.release(begun(first.attempts, first, subject, token))
    fake_stripe.processing = 0.01
    deadline = time.monotonic() + 20
    with first.completer(), second.completer():
        while first.upkeep.open_attempts()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert sorted(saved_cards(fake_stripe.account)) == sorted(tokens.values())
    assert first.audit().is_clean, first.audit()


def begun(attempts: Attempts, instance: Instance, subject: str, token: str) -> object:
    """Begin an attempt and do no more."""
    attempt = attempts.claim(instance.user(subject), token)
    assert attempt is not None
    return attempt
