"""What each call sends, and which answers count as the answer to it."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.scripted_stripe import Said, ScriptedStripe, error

from app.errors import CardRefused, Misconfigured, ParameterRefused, TokenRefused
from app.stripe_account.account import StripeAccount
from app.stripe_account.objects import Customer, PaymentMethod, Token
from app.stripe_account.outcomes import (
    CustomerGone,
    CustomerUnknown,
    LookFirst,
    OutcomeUnknown,
    RateLimited,
)

KEY = "sk_test_secret4eC39HqLyjWDarjtT1zdp7dc"
METADATA = {"coord_attempt": "attempt-1", "coord_user": "7"}
CUSTOMER = {
    "id": "cus_1",
    "object": "customer",
    "created": 1700000000,
    "email": "a@example.com",
    "livemode": True,
    "default_source": "card_1",
    "invoice_settings": {"default_payment_method": "pm_1"},
    "metadata": METADATA,
}
DELETED = {"id": "cus_1", "object": "customer", "deleted": True}
ATTACHED = {"id": "pm_1", "object": "payment_method", "customer": "cus_1", "metadata": METADATA}
LOOSE = {**ATTACHED, "customer": None}
TOKEN = {"id": "tok_1", "object": "token", "used": True}


class Calls:
    """Each call of the account, with arguments that fit the answers above."""

    def __init__(self, account: StripeAccount) -> None:
        self.account = account

    def create(self, **card: str) -> Customer:
        return self.account.create_customer(
            **(card or {"source": "tok_1"}),
            email="a@example.com",
            metadata=METADATA,
            idempotency_key="key-1",
            timeout=5.0,
        )

    def create_with_pm(self) -> Customer:
        return self.create(payment_method="pm_1")

    def replace(self) -> Customer:
        return self.account.replace_source(
            "cus_1", "tok_1", METADATA, idempotency_key="key-1", timeout=5.0
        )

    def create_pm(self) -> PaymentMethod:
        return self.account.create_payment_method(
            "tok_1", METADATA, idempotency_key="key-1", timeout=5.0
        )

    def attach(self) -> PaymentMethod:
        return self.account.attach("pm_1", "cus_1", idempotency_key="key-1", timeout=5.0)

    def set_default(self) -> Customer:
        return self.account.set_default(
            "cus_1", "pm_1", METADATA, idempotency_key="key-1", timeout=5.0
        )

    def set_metadata(self) -> Customer:
        return self.account.set_metadata("cus_1", {"coord_user": "7", "gone": ""}, timeout=5.0)

    def detach(self) -> PaymentMethod:
        return self.account.detach("pm_1", timeout=5.0)

    def retrieve(self) -> Customer:
        return self.account.retrieve("cus_1", timeout=5.0)

    def retrieve_pm(self) -> PaymentMethod | None:
        return self.account.retrieve_payment_method("pm_1", timeout=5.0)

    def retrieve_token(self) -> Token | None:
        return self.account.retrieve_token("tok_1", timeout=5.0)

    def created(self) -> list[Customer]:
        return list(self.account.created_between(10.5, 20.5, timeout=5.0))

    def list_pms(self) -> list[PaymentMethod]:
        return list(self.account.list_payment_methods("cus_1", timeout=5.0))

    def delete(self) -> None:
        self.account.delete("cus_1", timeout=5.0)


@pytest.fixture
def stripe() -> Iterator[ScriptedStripe]:
    running = ScriptedStripe()
    yield running
    running.close()


@pytest.fixture
def seen() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def alarms() -> list[str]:
    return []


@pytest.fixture
def calls(
    stripe: ScriptedStripe, seen: list[tuple[str, str]], alarms: list[str]
) -> Iterator[Calls]:
    account = StripeAccount(
        KEY,
        stripe.url,
        observe=lambda call, outcome, _seconds: seen.append((call, outcome)),
        refused=alarms.append,
    )
    yield Calls(account)
    account.close()


def page(*items: object, more: bool = False) -> dict[str, object]:
    return {"object": "list", "url": "/v1/x", "has_more": more, "data": list(items)}


# What is sent: the call, its answer, the request's line, its parameters.
SENT: list[tuple[Callable[[Calls], object], object, str, dict[str, str]]] = [
    (
        Calls.create,
        CUSTOMER,
        "POST /v1/customers",
        {"source": "tok_1", "email": "a@example.com", "metadata": ""},
    ),
    (
        Calls.create_with_pm,
        CUSTOMER,
        "POST /v1/customers",
        {
            "payment_method": "pm_1",
            "invoice_settings[default_payment_method]": "pm_1",
            "email": "a@example.com",
            "metadata": "",
        },
    ),
    (Calls.replace, CUSTOMER, "POST /v1/customers/cus_1", {"source": "tok_1", "metadata": ""}),
    (
        Calls.create_pm,
        LOOSE,
        "POST /v1/payment_methods",
        {"type": "card", "card[token]": "tok_1", "metadata": ""},
    ),
    (Calls.attach, ATTACHED, "POST /v1/payment_methods/pm_1/attach", {"customer": "cus_1"}),
    (
        Calls.set_default,
        CUSTOMER,
        "POST /v1/customers/cus_1",
        {"invoice_settings[default_payment_method]": "pm_1", "metadata": ""},
    ),
    (
        Calls.set_metadata,
        CUSTOMER,
        "POST /v1/customers/cus_1",
        {"metadata[coord_user]": "7", "metadata[gone]": ""},
    ),
    (Calls.detach, LOOSE, "POST /v1/payment_methods/pm_1/detach", {}),
    (Calls.retrieve, CUSTOMER, "GET /v1/customers/cus_1", {}),
    (Calls.retrieve_pm, ATTACHED, "GET /v1/payment_methods/pm_1", {}),
    (Calls.retrieve_token, TOKEN, "GET /v1/tokens/tok_1", {}),
    (
        Calls.created,
        page(CUSTOMER),
        "GET /v1/customers",
        {"created[gte]": "10", "created[lte]": "21", "limit": "100"},
    ),
    (Calls.list_pms, page(ATTACHED), "GET /v1/customers/cus_1/payment_methods", {"limit": "100"}),
    (Calls.delete, DELETED, "DELETE /v1/customers/cus_1", {}),
]
NAMES = [line + (" " + next(iter(params), "")) for _, _, line, params in SENT]


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
        email="a@example.com",
        created=1700000000,
        livemode=True,
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
