"""The private parts of the SDK that are replaced: each is still there, and still what it uses."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import _api_requestor, _util
from stripe._api_requestor import _APIRequestor
from support.scripted_stripe import Said, ScriptedStripe

from app.stripe_account.account import StripeAccount
from app.stripe_account.sdk_client import form

TEXTS = st.text(st.characters(codec="utf-8"))
DELETED = {"id": "cus_1", "object": "customer", "deleted": True}
# The first of those that the SDK looks for, and what it would tell Stripe of it.
AGENT, NAME = ("AGENT_OF_A_TEST", "agent_of_a_test")


@pytest.fixture
def stripe() -> Iterator[ScriptedStripe]:
    server = ScriptedStripe()
    server.says = Said(200, DELETED)
    yield server
    server.close()


def call(stripe: ScriptedStripe) -> None:
    account = StripeAccount("sk_test_x", stripe.url)
    account.delete("cus_1", timeout=5.0)
    account.close()


def test_log_lines_are_not_formatted(
    stripe: ScriptedStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is put in the place of the formatter is called, with bodies, and returns nothing."""
    quiet, formatted = _util.logfmt, []
    monkeypatch.setattr(_util, "logfmt", lambda fields: formatted.append(fields) or quiet(fields))
    call(stripe)
    assert len(formatted) == 5
    assert {quiet(fields) for fields in formatted} == {""}


def test_environment_is_not_searched(
    stripe: ScriptedStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AGENT, "1")
    call(stripe)
    monkeypatch.setattr(_APIRequestor, "AI_AGENTS", [(AGENT, NAME)])
    call(stripe)
    ours, theirs = (request.headers["user-agent"] for request in stripe.requests)
    assert "AIAgent" not in ours
    assert theirs.endswith(f"AIAgent/{NAME}")


def test_no_durations_are_sent(stripe: ScriptedStripe) -> None:
    """The SDK would send those of the call before, of the same thread."""
    account = StripeAccount("sk_test_x", stripe.url)
    for _ in range(2):
        account.delete("cus_1", timeout=5.0)
    account.close()
    assert len(stripe.requests) == 2
    for request in stripe.requests:
        assert "x-stripe-client-telemetry" not in request.headers


@given(st.lists(st.tuples(TEXTS, TEXTS | st.integers())))
def test_form_is_that_of_the_standard_library(fields: list[tuple[str, object]]) -> None:
    assert form(fields) == urlencode(fields)


def test_form_is_encoded_by_ours(stripe: ScriptedStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    monkeypatch.setattr(
        _api_requestor, "urlencode", lambda fields: encoded.append(fields) or form(fields)
    )
    call(stripe)
    assert len(encoded) == 1
