"""Only what bears the marks of a call counts as the answer to it."""

from collections.abc import Callable
from typing import Any

import pytest
from stripe_account.calls import (
    ATTACHED,
    CUSTOMER,
    DELETED,
    KEY,
    LOOSE,
    NAMES,
    SENT,
    TOKEN,
    Calls,
    page,
)
from support.scripted_stripe import Said, ScriptedStripe, error

from app.stripe_account.outcomes import OutcomeUnknown

# Answers to another request than the one that was sent.
OTHER_ATTEMPT = {"metadata": {"coord_attempt": "attempt-2"}}
MARKLESS = [
    (Calls.create, {**CUSTOMER, **OTHER_ATTEMPT}),
    (Calls.create, {**CUSTOMER, "metadata": {}}),
    (Calls.create_with_pm, {**CUSTOMER, **OTHER_ATTEMPT}),
    (
        Calls.create_with_pm,
        {**CUSTOMER, "invoice_settings": {"default_payment_method": None}},
    ),
    (Calls.replace, {**CUSTOMER, "id": "cus_2"}),
    (Calls.replace, {**CUSTOMER, **OTHER_ATTEMPT}),
    (Calls.replace, {**DELETED, "id": "cus_2"}),
    (Calls.create_pm, {**LOOSE, **OTHER_ATTEMPT}),
    (Calls.attach, {**ATTACHED, "id": "pm_2"}),
    (Calls.attach, {**ATTACHED, "customer": "cus_2"}),
    (Calls.attach, LOOSE),
    (Calls.set_default, {**CUSTOMER, "id": "cus_2"}),
    (Calls.set_default, {**CUSTOMER, **OTHER_ATTEMPT}),
    (Calls.set_default, {**CUSTOMER, "invoice_settings": {"default_payment_method": "pm_2"}}),
    (Calls.set_metadata, {**CUSTOMER, "id": "cus_2"}),
    (Calls.set_metadata, {**CUSTOMER, "metadata": {"coord_user": "8"}}),
    (Calls.set_metadata, {**CUSTOMER, "metadata": {"coord_user": "7", "gone": "not yet"}}),
    (Calls.detach, ATTACHED),
    (Calls.detach, {**LOOSE, "id": "pm_2"}),
    (Calls.retrieve, {**CUSTOMER, "id": "cus_2"}),
    (Calls.retrieve, {**DELETED, "id": "cus_2"}),
    (Calls.retrieve_pm, {**ATTACHED, "id": "pm_2"}),
    (Calls.retrieve_token, {**TOKEN, "id": "tok_2"}),
    (Calls.list_pms, page({**ATTACHED, "customer": "cus_2"})),
    (Calls.delete, {**DELETED, "id": "cus_2"}),
    (Calls.delete, CUSTOMER),
]


@pytest.mark.parametrize(("call", "body"), MARKLESS)
def test_answer_without_the_marks_is_not_the_answer(
    stripe: ScriptedStripe, calls: Calls, call: Callable[[Calls], object], body: object
) -> None:
    """It is unknown what Stripe did, and the connection that it came over is not used again."""
    stripe.says = Said(200, body)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="not the answer to this call"):
            call(calls)
    assert stripe.connections == 2


@pytest.mark.parametrize(
    "says",
    [
        Said(200, CUSTOMER, {"Idempotency-Key": "key-2"}),
        error(402, {"Idempotency-Key": "key-2"}, type="card_error", code="card_declined"),
        error(400, {"idempotency-key": "key-2"}, code="token_already_used"),
    ],
)
def test_answer_to_another_key_is_not_the_answer(
    stripe: ScriptedStripe, calls: Calls, says: Said
) -> None:
    """Stripe echoes the key, also with a refusal: another user's must not count as this one's."""
    stripe.says = says
    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="another idempotency key"):
            calls.create()
    assert stripe.connections == 2


NOT_OBJECTS = [
    b"",
    b"\xff",
    b"<html>",
    b"null",
    b"[]",
    b"{}",
    b'{"id": "cus_1"}',
    b'{"object": "list"}',
]


@pytest.mark.parametrize("body", NOT_OBJECTS)
@pytest.mark.parametrize("call", [call for call, *_ in SENT], ids=NAMES)
def test_answer_that_is_not_the_object_is_unknown(
    stripe: ScriptedStripe,
    calls: Calls,
    seen: list[tuple[str, str]],
    call: Callable[[Calls], object],
    body: bytes,
) -> None:
    stripe.says = Said(200, body)
    with pytest.raises(OutcomeUnknown) as raised:
        call(calls)
    assert raised.value.maybe_executed
    assert KEY not in str(raised.value)
    assert [outcome for _, outcome in seen] == ["unknown"]
    assert len(stripe.requests) == 1


@pytest.mark.parametrize("error", [None, 5, [], "text", {"type": 5, "code": 5, "param": 5}])
def test_error_of_another_form_is_unknown(
    stripe: ScriptedStripe, calls: Calls, error: object
) -> None:
    """Some make the SDK stumble."""
    stripe.says = Said(400, {"error": error})
    with pytest.raises(OutcomeUnknown):
        calls.create()


@pytest.mark.parametrize(
    "change", [{"id": "ch_1"}, {"id": ""}, {"id": 1}, {"object": "charge"}, {"object": None}]
)
def test_customer_must_look_like_one(
    stripe: ScriptedStripe, calls: Calls, change: dict[str, Any]
) -> None:
    stripe.says = Said(200, {**CUSTOMER, **change})
    with pytest.raises(OutcomeUnknown):
        calls.create()
