"""What Stripe does not do, and why, as the rule hears of it."""

import socket

import pytest
from stripe_account.calls import DELETED, KEY, Calls
from support.scripted_stripe import Said, ScriptedStripe, error

from app.errors import CardRefused, Misconfigured, ParameterRefused, TokenRefused
from app.stripe_account.account import StripeAccount
from app.stripe_account.outcomes import (
    CustomerGone,
    CustomerUnknown,
    LookFirst,
    OutcomeUnknown,
    RateLimited,
)


def test_refusals_reach_the_caller_as_what_they_are(
    stripe: ScriptedStripe, calls: Calls, seen: list[tuple[str, str]], alarms: list[str]
) -> None:
    """`app.stripe_account.readings` has the table; none has the key in its words."""
    cases: list[tuple[Said, type[Exception]]] = [
        (error(402, type="card_error", code="card_declined"), CardRefused),
        (error(400, code="token_already_used"), TokenRefused),
        (error(400, param="metadata"), ParameterRefused),
        (error(401), Misconfigured),
        (error(429, code="rate_limit"), RateLimited),
        (error(500, type="api_error"), OutcomeUnknown),
    ]
    for says, kind in cases:
        stripe.says = says
        with pytest.raises(kind) as raised:
            calls.create()
        assert KEY not in str(raised.value) + str(raised.value.__cause__) + repr(vars(raised.value))
    assert [outcome for _, outcome in seen] == ["refused"] * 4 + ["unknown"] * 2
    assert alarms == ["parameter", "key"]


def test_stripe_that_refuses_us_is_told_apart_in_the_log(
    stripe: ScriptedStripe, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an event of its own, which names the call, the reason and the right that is missing."""
    stripe.says = error(403)
    with pytest.raises(Misconfigured):
        calls.create()
    logged = "".join(capsys.readouterr())
    assert "Stripe refuses us" in logged
    assert "rak_customer_write" in logged
    stripe.says = error(402, type="card_error")
    with pytest.raises(CardRefused):
        calls.create()
    assert "Stripe refuses us" not in "".join(capsys.readouterr())


def test_customer_that_is_gone_is_not_one_that_never_was(
    stripe: ScriptedStripe, calls: Calls, alarms: list[str]
) -> None:
    """A deleted one can be retrieved; one that this account does not know is the wrong key."""
    stripe.says = Said(200, DELETED)
    with pytest.raises(CustomerGone):
        calls.retrieve()
    stripe.says = error(404, code="resource_missing", param="id")
    with pytest.raises(CustomerUnknown):
        calls.retrieve()
    assert alarms == ["customer"]
    for call in (calls.replace, calls.set_default, calls.delete):
        with pytest.raises(CustomerGone):
            call()


def test_objects_that_stripe_does_not_have(stripe: ScriptedStripe, calls: Calls) -> None:
    stripe.says = error(404, code="resource_missing", param="payment_method")
    assert calls.retrieve_pm() is None
    stripe.says = error(404, code="resource_missing", param="id")
    assert calls.retrieve_pm() is None
    assert calls.retrieve_token() is None


@pytest.mark.parametrize(
    "says",
    [
        error(402, type="card_error"),
        error(400, param="starting_after"),
        error(400, type="idempotency_error"),
        error(429),
        error(500, type="api_error"),
        error(404),
    ],
)
def test_question_that_is_refused_is_not_answered(
    stripe: ScriptedStripe, calls: Calls, says: Said
) -> None:
    """A refusal to answer never means that there is nothing."""
    stripe.says = says
    questions = (
        calls.created,
        calls.list_pms,
        calls.retrieve,
        calls.retrieve_pm,
        calls.retrieve_token,
        calls.delete,
    )
    for question in questions:
        with pytest.raises(OutcomeUnknown):
            question()


def test_stripes_test_ids_are_refused_before_they_are_sent(
    stripe: ScriptedStripe, calls: Calls
) -> None:
    """Stripe would attach a copy of another name, which no look could find after a crash."""
    for call in (
        lambda: calls.create(payment_method="pm_card_visa"),
        lambda: calls.account.attach("pm_card_visa", "cus_1", idempotency_key="k", timeout=5.0),
    ):
        with pytest.raises(TokenRefused) as raised:
            call()
        assert raised.value.code == "resource_missing"
    assert stripe.requests == []


def test_spent_payment_method_needs_a_look(stripe: ScriptedStripe, calls: Calls) -> None:
    stripe.says = error(400)
    for call in (calls.attach, calls.create_with_pm, calls.set_default, calls.create_pm):
        with pytest.raises(LookFirst):
            call()


def test_failure_of_the_network_is_unknown() -> None:
    """Nothing listens there; the reason is in its words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    account = StripeAccount(KEY, f"http://127.0.0.1:{port}")
    with pytest.raises(OutcomeUnknown) as raised:
        account.retrieve("cus_1", timeout=5.0)
    assert str(raised.value)
    account.close()
