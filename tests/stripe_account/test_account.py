"""What each call sends, and what is read of the answer to it."""

from collections.abc import Callable

import pytest
from stripe_account.calls import (
    ATTACHED,
    CUSTOMER,
    METADATA,
    NAMES,
    SENT,
    TOKEN,
    Calls,
    page,
)
from support.scripted_stripe import Said, ScriptedStripe

from app.stripe_account.objects import Customer, PaymentMethod, Token
from app.stripe_account.outcomes import OutcomeUnknown


@pytest.mark.parametrize(("call", "body", "line", "params"), SENT, ids=NAMES)
def test_call_as_it_is_sent(
    stripe: ScriptedStripe,
    calls: Calls,
    seen: list[tuple[str, str]],
    call: Callable[[Calls], object],
    body: object,
    line: str,
    params: dict[str, str],
) -> None:
    """Once, under its key, with its metadata; each request fits Stripe's own document."""
    stripe.says = Said(200, body, {"Idempotency-Key": "key-1"})
    call(calls)
    (request,) = stripe.requests
    assert f"{request.method} {request.path}" == line
    if params.pop("metadata", None) is not None:
        params |= {f"metadata[{name}]": value for name, value in METADATA.items()}
    assert request.params == params
    if request.method == "POST" and call not in (Calls.set_metadata, Calls.detach):
        assert request.headers["idempotency-key"] == "key-1"
    assert [outcome for _, outcome in seen] == ["answered"]


def test_answers_as_they_are_read(stripe: ScriptedStripe, calls: Calls) -> None:
    """All that the rule and the operator's commands need of Stripe's objects."""
    stripe.says = Said(200, CUSTOMER)
    assert calls.retrieve() == Customer(
        id="cus_1",
        metadata=METADATA,
        created=1700000000,
        default_payment_method="pm_1",
        default_source="card_1",
    )
    stripe.says = Said(200, ATTACHED)
    assert calls.retrieve_pm() == PaymentMethod("pm_1", "cus_1", METADATA)
    stripe.says = Said(200, TOKEN)
    assert calls.retrieve_token() == Token("tok_1", used=True)
    assert stripe.connections == 1


def test_members_that_are_missing_or_expanded(stripe: ScriptedStripe, calls: Calls) -> None:
    stripe.says = Said(200, {"id": "cus_1", "object": "customer"})
    assert calls.retrieve() == Customer("cus_1")
    settings = {"default_payment_method": {"id": "pm_2", "object": "payment_method"}}
    stripe.says = Said(200, {**CUSTOMER, "invoice_settings": settings, "default_source": None})
    assert calls.retrieve().default_payment_method == "pm_2"
    assert calls.retrieve().default_source is None


def test_customer_without_an_email(stripe: ScriptedStripe, calls: Calls) -> None:
    stripe.says = Said(200, CUSTOMER)
    calls.account.create_customer(
        source="tok_1", email=None, metadata=METADATA, idempotency_key="k", timeout=5.0
    )
    assert "email" not in stripe.requests[0].params


def test_list_is_read_to_its_end(stripe: ScriptedStripe, calls: Calls) -> None:
    """Each page goes on after the last item of the one before."""
    second = {**CUSTOMER, "id": "cus_2"}
    stripe.queue = [Said(200, page(CUSTOMER, more=True)), Said(200, page(second))]
    assert [one.id for one in calls.created()] == ["cus_1", "cus_2"]
    assert stripe.requests[1].params["starting_after"] == "cus_1"


def test_page_that_has_more_but_is_empty_ends(stripe: ScriptedStripe, calls: Calls) -> None:
    stripe.says = Said(200, page(more=True))
    assert calls.created() == []


@pytest.mark.parametrize(
    "body", [{"object": "list", "data": {}, "has_more": False}, {"object": "list", "data": []}]
)
def test_page_that_is_not_one_is_unknown(
    stripe: ScriptedStripe, calls: Calls, body: object
) -> None:
    stripe.says = Said(200, body)
    with pytest.raises(OutcomeUnknown):
        calls.created()
