"""What Stripe says, and what it means: a customer, a refusal, or an outcome that is unknown."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from test_http_client import Server, saying

from app.errors import CardRefused, Misconfigured, ParameterRefused, TokenRefused
from app.stripe_account.account import (
    CustomerGone,
    EmailRefused,
    KeyMismatch,
    OutcomeUnknown,
    StripeAccount,
)

KEY = "sk_test_secret4eC39HqLyjWDarjtT1zdp7dc"
GOOD = {"id": "cus_1", "object": "customer", "metadata": {"a": "b"}}


def answer(status: int, body: Any, *headers: str) -> bytes:
    """Write an answer as Stripe does."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(content)}", "Request-Id: req_1"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + content


def error(status: int, *headers: str, **members: str) -> bytes:
    return answer(status, {"error": {"type": "invalid_request_error", **members}}, *headers)


class Stripe:
    """The door under test, and what stands behind it."""

    def __init__(self) -> None:
        self.says = answer(200, GOOD)
        self.server = Server(self._talk)
        self.seen: list[tuple[str, str]] = []
        self.account = StripeAccount(
            KEY,
            self.server.url.rpartition("/v1")[0],
            observe=lambda call, outcome, _seconds: self.seen.append((call, outcome)),
        )

    def _talk(self, sock: socket.socket) -> None:
        saying(self.says)(sock)

    def create(self) -> Any:
        return self.account.create_customer(
            "tok_1", "a@example.com", {"m": "1"}, idempotency_key="k", timeout=5.0
        )

    def update(self) -> Any:
        return self.account.replace_card(
            "cus_1", "tok_1", {"m": "1"}, idempotency_key="k", timeout=5.0
        )


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    running = Stripe()
    yield running
    running.account.close()
    running.server.stop()


def test_customer_is_what_stripe_says(stripe: Stripe) -> None:
    """One call for each, under its key, with our metadata."""
    for call in (stripe.create, stripe.update):
        told = call()
        assert (told.id, told.metadata) == ("cus_1", {"a": "b"})
    head = stripe.server.requests[0]
    assert b"\r\nidempotency-key: k\r\n" in head.lower()
    assert stripe.seen == [("create", "answered"), ("update", "answered")]
    assert len(stripe.server.requests) == 2
    assert stripe.server.connections == 1


def test_customer_without_metadata(stripe: Stripe) -> None:
    stripe.says = answer(200, {"id": "cus_1", "object": "customer"})
    assert stripe.create().metadata == {}


def test_deleted_customer_is_gone(stripe: Stripe) -> None:
    """Stripe tells of it with 200 (https://docs.stripe.com/api/customers/retrieve)."""
    stripe.says = answer(200, {"id": "cus_1", "object": "customer", "deleted": True})
    with pytest.raises(CustomerGone):
        stripe.account.retrieve("cus_1", timeout=5.0)
    with pytest.raises(CustomerGone):
        stripe.update()


@pytest.mark.parametrize(
    ("says", "error_class", "code"),
    [
        (error(402, type="card_error", code="card_declined"), CardRefused, "card_declined"),
        (error(402, type="card_error"), CardRefused, "card_declined"),
        (error(400, param="source", code="resource_missing"), TokenRefused, "resource_missing"),
        (error(400, code="token_already_used"), TokenRefused, "token_already_used"),
        (error(400, code="livemode_mismatch"), TokenRefused, "livemode_mismatch"),
        (error(400, param="source", code="Not A Code!"), TokenRefused, "token_refused"),
        (error(400, param="email", code="email_invalid"), EmailRefused, None),
        (error(400, param="metadata[m]"), ParameterRefused, "internal"),
        (error(401), Misconfigured, "internal"),
        (error(403, code="more_permissions_required"), Misconfigured, "internal"),
        (error(400, type="idempotency_error"), KeyMismatch, None),
        (error(404, code="resource_missing", param="id"), CustomerGone, None),
        (error(404, code="resource_missing"), CustomerGone, None),
    ],
)
def test_refusal_is_told_for_what_it_is(
    stripe: Stripe, says: bytes, error_class: type[Exception], code: str | None
) -> None:
    """And never with our key in its words."""
    stripe.says = says
    with pytest.raises(error_class) as told:
        stripe.create()
    assert getattr(told.value, "code", None) == code
    assert KEY not in str(told.value) + str(told.value.__cause__) + repr(vars(told.value))
    assert stripe.seen == [("create", "refused")]


@pytest.mark.parametrize(
    ("says", "is_kept"),
    [
        (error(409, code="idempotency_key_in_use"), False),
        (error(429, code="rate_limit"), False),
        (error(500, type="api_error"), False),
        (error(500, "Idempotent-Replayed: true", type="api_error"), True),
        (error(503), False),
        (answer(400, b"<html>"), False),
        (answer(402, b"<html>"), False),
        (answer(404, {}), False),
        (answer(302, b""), False),
        (answer(200, b"<html>"), False),
        (answer(200, []), False),
        (answer(200, {}), False),
        (answer(200, None), False),
        (answer(200, {**GOOD, "id": "ch_1"}), False),
        (answer(200, {**GOOD, "object": "charge"}), False),
    ],
)
def test_all_else_is_unknown(stripe: Stripe, says: bytes, is_kept: bool) -> None:
    """Stripe may have done it."""
    stripe.says = says
    with pytest.raises(OutcomeUnknown) as told:
        stripe.create()
    assert told.value.is_kept is is_kept
    assert KEY not in str(told.value)
    assert stripe.seen == [("create", "unknown")]
    assert len(stripe.server.requests) == 1


@pytest.mark.parametrize(
    "says", [error(402, code="card_declined"), error(400, param="starting_after"), error(429)]
)
def test_question_that_is_refused_is_not_answered(stripe: Stripe, says: bytes) -> None:
    """Nobody may take "I do not say" for "there is none"."""
    stripe.says = says
    with pytest.raises(OutcomeUnknown):
        list(stripe.account.created_between(0, 1, timeout=5.0))
    with pytest.raises(OutcomeUnknown):
        stripe.account.retrieve("cus_1", timeout=5.0)
    with pytest.raises(OutcomeUnknown):
        stripe.account.delete("cus_1", timeout=5.0)


def test_page_that_says_more_and_has_none_ends(stripe: Stripe) -> None:
    stripe.says = answer(200, {"object": "list", "url": "/", "has_more": True, "data": []})
    assert list(stripe.account.created_between(0, 1, timeout=5.0)) == []
