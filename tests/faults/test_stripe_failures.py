"""Each way in which Stripe can fail: the outcome is reported correctly, and converges."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from faults.call_faults import FAULTS, NOT_STRIPE, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.routes import is_unfindable, save_or_replace, takes

from app.errors import CardRefused, StripeUnavailable, TokenRefused, UsersApiError

# After this the outcome is found out at once: Stripe's list of customers shows it.
FOUND_OUT = "500 kept and executed"
MISSING = stripe_error(400, "resource_missing", "starting_after")
LOOK_UPS = {
    **{name: fault for name, fault in FAULTS.items() if "execut" not in name},
    **{name: fault for name, fault in NOT_STRIPE.items() if fault.executed},
    # The customer at which a page ended is deleted at Stripe.
    "400 of Stripe": Fault(answer=MISSING),
    "402 of Stripe": Fault(answer=replace(MISSING, status=402)),
}


NOT_EXECUTED = ("429", "429 lock timeout")


def save_with_unknown_outcome(instance: Instance, token: str) -> None:
    """Send a request whose outcome must be reported as unknown, within its timeout."""
    began = time.monotonic()
    with pytest.raises(StripeUnavailable) as error:
        instance.save(token)
    assert error.value.retry_after
    # Who trickles, or hangs, would otherwise be waited for without end.
    assert time.monotonic() - began < instance.request + 5.0


def save_or_lose(instance: Instance, fake_stripe: FakeStripe, token: str) -> str:
    """Save a card while Stripe keeps failures of what it executed; returns what to send next.

    A PaymentMethod that it made of a token so cannot be found again, and another card is sent.
    """
    try:
        instance.save(token)
    except TokenRefused:
        assert fake_stripe.calls[-1].request.path == f"/v1/tokens/{token}"
        fake_stripe.account.payment_methods.discard_loose()
        return fake_stripe.account.token()
    return token


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_unknown_outcome_is_reported_and_converges(
    instance: Instance, fake_stripe: FakeStripe, name: str, has_customer: bool
) -> None:
    """503 while the fault lasts; the same request succeeds afterwards, with one customer."""
    before = instance.save(fake_stripe.account.token()) if has_customer else None
    token = fake_stripe.account.token()
    fake_stripe.fail(FAULTS[name], times=None)
    if name == FOUND_OUT:
        token = save_or_lose(instance, fake_stripe, token)
    else:
        save_with_unknown_outcome(instance, token)
        # What Stripe has certainly not executed is withdrawn: the completer need not ask again.
        assert (instance.row().attempt_id is None) == (name in NOT_EXECUTED)
    fake_stripe.heal()
    customer_id = instance.save(token)
    assert before in (None, customer_id)
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_one_fault_is_retried_within_the_request(
    instance: Instance, fake_stripe: FakeStripe, name: str, has_customer: bool
) -> None:
    """A single failure does not reach the caller: the same key is sent again in time."""
    if has_customer:
        instance.save(fake_stripe.account.token())
    fake_stripe.fail(FAULTS[name])
    # At a rate limit a second call in the same request would make it worse.
    if name in ("hangs during execution", "429"):
        save_with_unknown_outcome(instance, token := fake_stripe.account.token())
        fake_stripe.heal()
        instance.save(token)
    elif name == FOUND_OUT:
        save_or_lose(instance, fake_stripe, fake_stripe.account.token())
    else:
        instance.save(fake_stripe.account.token())
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_refused_connection_is_reported_and_converges(
    instance: Instance, fake_stripe: FakeStripe, has_customer: bool
) -> None:
    """Nothing listens at Stripe's address, and kept connections are closed."""
    if has_customer:
        instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    with fake_stripe.refusing():
        save_with_unknown_outcome(instance, token)
    instance.save(token)
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("name", NOT_STRIPE)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_error_not_in_stripes_form_is_unknown(
    instance: Instance, fake_stripe: FakeStripe, name: str, has_customer: bool
) -> None:
    """A 4xx without a Stripe error refuses nothing: a proxy may have sent it."""
    if has_customer:
        instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    fake_stripe.fail(NOT_STRIPE[name], times=None, method=None)
    save_with_unknown_outcome(instance, token)
    fake_stripe.heal()
    instance.save(token)
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("name", LOOK_UPS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_failed_look_up_leaves_the_attempt_open(
    instance: Instance, fake_stripe: FakeStripe, name: str, has_customer: bool
) -> None:
    """Stripe has executed the call and forgotten the key, and the look-up fails."""
    if has_customer:
        instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    fake_stripe.fail(FAULTS["reset after execution"], times=None)
    save_with_unknown_outcome(instance, token)
    fake_stripe.heal()
    fake_stripe.account.forget_keys()
    instance.grow_old(25 * 3600)
    fake_stripe.fail(LOOK_UPS[name], times=None, method="GET")
    save_with_unknown_outcome(instance, token)
    assert instance.row().attempt_id is not None
    fake_stripe.heal()
    save_or_replace(instance, token, is_unfindable(instance.row()))
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(
    ("token", "error", "code"),
    [
        ("tok_chargeDeclined", CardRefused, "card_declined"),
        ("tok_chargeDeclinedInsufficientFunds", CardRefused, "card_declined"),
        ("tok_chargeDeclinedExpiredCard", CardRefused, "expired_card"),
        ("tok_chargeDeclinedIncorrectCvc", CardRefused, "incorrect_cvc"),
        ("tok_chargeDeclinedProcessingError", CardRefused, "processing_error"),
        ("tok_unknown", TokenRefused, "resource_missing"),
    ],
)
def test_refusal_changes_nothing(
    instance: Instance,
    fake_stripe: FakeStripe,
    has_customer: bool,
    token: str,
    error: type[UsersApiError],
    code: str,
) -> None:
    """A refused card leaves the customer, its card and the stored id as they were."""
    before = instance.save(fake_stripe.account.token()) if has_customer else None
    with pytest.raises(error) as error:
        instance.save(token)
    assert error.value.code == code
    assert instance.row().stripe_customer_id == before
    assert len(fake_stripe.account.live()) == has_customer
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes
def test_used_token_of_another_user_is_refused(instance: Instance, fake_stripe: FakeStripe) -> None:
    """A token that made one user's customer makes no other's."""
    token = fake_stripe.account.token()
    instance.save(token, "user-1")
    with pytest.raises(TokenRefused) as error:
        instance.save(token, "user-2")
    # Of a PaymentMethod Stripe says neither.
    assert error.value.code in ("token_already_used", "token_refused")
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes
def test_repetition_of_a_success_is_no_call(
    instance: Instance, fake_stripe: FakeStripe, route: str
) -> None:
    """A save that meets no trouble takes as few calls as can be, and its repetition none."""
    for has_customer in (False, True):
        token, before = fake_stripe.account.token(), len(fake_stripe.calls)
        for _ in range(2):
            instance.save(token)
            assert takes(route, has_customer, len(fake_stripe.calls) - before)


@pytest.mark.all_routes(long=True)
def test_refusals_count_for_their_own_user_alone(
    open_instance: Callable[..., Instance], fake_stripe: FakeStripe
) -> None:
    """However many cards of others are refused, a user who has a customer can save another."""
    instance = open_instance(per_user=2)
    instance.save(fake_stripe.account.token())
    for number in range(5):
        with pytest.raises(CardRefused):
            instance.save(fake_stripe.account.token("card_declined"), f"other-{number}")
    instance.save(fake_stripe.account.token())
    with pytest.raises(CardRefused):
        instance.save(fake_stripe.account.token("card_declined"))
    instance.save(fake_stripe.account.token())
    assert instance.audit().is_clean, instance.audit()
