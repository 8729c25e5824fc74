"""Each recorded or reported answer of Stripe has the meaning that its source gives it.

`tests/data/stripe_errors.json` holds real bodies with their sources.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import CardRefused, Misconfigured, ParameterRefused, TokenRefused
from app.stripe_account import calls, objects
from app.stripe_account.outcomes import (
    CustomerGone,
    CustomerUnknown,
    EmailRefused,
    KeyMismatch,
    LookFirst,
    OutcomeUnknown,
    RateLimited,
    Retry,
    TooManyCards,
)
from app.stripe_account.readings import LONGEST_PAUSE, PAUSE, Call, Failure, reading

DATA = json.loads((Path(__file__).parents[1] / "data" / "stripe_errors.json").read_text())
ENTRIES: list[dict[str, Any]] = DATA["errors"]
# A recording of a call that this service does not make stands for the call of ours that names the
# same: a PaymentMethod in the body, or a customer in the path.
CALLS = {
    "POST /v1/customers": calls.CREATE,
    "POST /v1/custmers": calls.CREATE,
    "POST /v1/customers/{customer}": calls.UPDATE,
    "GET /v1/customers/{customer}": calls.RETRIEVE,
    "DELETE /v1/customers/{customer}": calls.DELETE,
    "POST /v1/payment_methods": calls.CREATE_PM,
    "POST /v1/payment_methods/{payment_method}/attach": calls.ATTACH,
    "POST /v1/payment_methods/{payment_method}/detach": calls.DETACH,
    "POST /v1/payment_intents": calls.CREATE_WITH_PM,
    "POST /v1/payment_intents/{payment_intent}/confirm": calls.CREATE_WITH_PM,
    "GET /v1/accounts/{account}": calls.RETRIEVE,
    "POST /v1/accounts": calls.CREATE,
    "POST /v1/accounts/{account}/persons/{person}": calls.UPDATE,
}
WITH_PM = {"create_pm_unknown", "pm_create_declined", "default_not_attached", "pm_spent_pi"}
# Stripe sends the very same answer, but for its text, with two meanings. Texts are never read, so
# each is read as the one that does no harm; the sentence tells how the other is told apart.
SAME_ANSWER = {
    # GET of the PaymentMethod shows no customer, or does not find it: refused.
    "pm_spent_pi": "look_first",
    "pm_test_id_live": "look_first",
    # A deleted customer is a 200; issue 13 decides that a 404 on reading is the wrong key.
    "customer_unknown": "wrong_key_or_right",
    # The old form of the limit, without a code: with one it is read as such, as below.
    "rate_limit_400": "our_fault",
}


def call_of(entry: dict[str, Any]) -> Call:
    call = CALLS[entry["call"]]
    if call is calls.UPDATE and entry["id"] == "default_not_attached":
        return calls.SET_DEFAULT
    return calls.CREATE_WITH_PM if call is calls.CREATE and entry["id"] in WITH_PM else call


def failure_of(entry: dict[str, Any]) -> Failure:
    body = entry["body"]
    return Failure(entry["status"], entry["headers"], body if isinstance(body, dict) else None)


def meaning(exception: Exception) -> str:
    """Return what an exception means, in the words of the file."""
    table: list[tuple[type[Exception], str]] = [
        (CardRefused, "refused_card"),
        (TokenRefused, "refused_token"),
        (EmailRefused, "email_refused"),
        (Misconfigured, "wrong_key_or_right"),
        (ParameterRefused, "our_fault"),
        (CustomerGone, "gone"),
        (KeyMismatch, "key_mismatch"),
        (LookFirst, "look_first"),
        (RateLimited, "retry_later"),
    ]
    for kind, means in table:
        if isinstance(exception, kind):
            return means
    assert isinstance(exception, OutcomeUnknown)
    if not exception.maybe_executed:
        return "retry_now" if exception.retry is Retry.SOON else "retry_later"
    return "unknown_outcome_kept" if exception.is_kept else "unknown_outcome"


def read(entry: dict[str, Any]) -> str:
    """Return the meaning that we read; a success is `done`, as no failure is read at all."""
    if entry["status"] == 200:
        if entry["call"].startswith("GET"):
            with pytest.raises(CustomerGone):
                objects.customer(entry["body"])
            return "gone"
        return "done"
    if entry["status"] < 200:
        # The HTTP client reads on; see tests/http_client/test_interim.py.
        return "ignore"
    return meaning(reading(call_of(entry), failure_of(entry)))


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["id"] for entry in ENTRIES])
def test_answer_is_read_as_its_source_means_it(entry: dict[str, Any]) -> None:
    """For four the answer alone does not tell, and we read the harmless meaning."""
    assert read(entry) == SAME_ANSWER.get(entry["id"], entry["means"])


def test_all_entries_are_there() -> None:
    """A file with missing entries, or with meanings that are never sent, would prove too little."""
    assert len(ENTRIES) == 66
    assert {entry["means"] for entry in ENTRIES} == set(DATA["means"])
    assert set(SAME_ANSWER) < {entry["id"] for entry in ENTRIES}


def failure(status: int = 400, headers: dict[str, str] | None = None, **error: str) -> Failure:
    return Failure(status, headers or {}, {"error": {"type": "invalid_request_error", **error}})


@pytest.mark.parametrize(
    ("call", "answer", "means"),
    [
        (calls.CREATE, failure(code="rate_limit"), "retry_later"),
        (calls.CREATE, failure(code="lock_timeout"), "retry_now"),
        (calls.CREATE, failure(429), "retry_later"),
        (calls.CREATE, failure(code="parameter_missing", param="source"), "our_fault"),
        (calls.CREATE, failure(code="Not a code", param="source"), "our_fault"),
        (calls.CREATE, failure(param="source"), "refused_token"),
        (calls.CREATE, failure(code="resource_missing", param="source"), "refused_token"),
        (calls.CREATE, failure(param="metadata[m]"), "our_fault"),
        (calls.CREATE, failure(param="email"), "email_refused"),
        (calls.CREATE, failure(code="account_invalid"), "wrong_key_or_right"),
        (calls.CREATE_PM, failure(code="resource_missing", param="card[token]"), "refused_token"),
        (calls.CREATE_PM, failure(code="token_already_used"), "refused_token"),
        (calls.CREATE_PM, failure(), "look_first"),
        (calls.CREATE_WITH_PM, failure(), "look_first"),
        (calls.ATTACH, failure(), "look_first"),
        (calls.SET_DEFAULT, failure(), "look_first"),
        (calls.SET_DEFAULT, failure(404, code="resource_missing", param="id"), "gone"),
        (calls.UPDATE, failure(404, code="resource_missing"), "gone"),
        (calls.UPDATE, failure(404), "our_fault"),
        (calls.CREATE, failure(404, code="resource_missing", param="id"), "our_fault"),
        (calls.CREATE, failure(402, type="card_error"), "refused_card"),
        (calls.CREATE, failure(418), "our_fault"),
        (calls.CREATE, Failure(429, {}, None), "unknown_outcome"),
        (calls.CREATE, Failure(403, {}, None), "unknown_outcome"),
        (calls.CREATE, Failure(400, {}, {"error": "invalid_client"}), "unknown_outcome"),
        (calls.CREATE, Failure(400, {}, {"error": {}}), "unknown_outcome"),
        (calls.CREATE, Failure(400, {}, []), "unknown_outcome"),
    ],
)
def test_answer_that_no_source_has(call: Call, answer: Failure, means: str) -> None:
    """By type, code and parameter; without an error of Stripe's, it is unknown."""
    assert meaning(reading(call, answer)) == means


def test_full_customer_is_told_apart() -> None:
    answer = failure(code="customer_max_payment_methods")
    assert isinstance(reading(calls.ATTACH, answer), TooManyCards)


def test_customer_of_another_account_is_told_apart() -> None:
    answer = failure(404, code="resource_missing", param="id")
    assert isinstance(reading(calls.RETRIEVE, answer), CustomerUnknown)


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (failure(401), "key", "does not accept STRIPE_SECRET_KEY"),
        (failure(403), "right", "write access to Customers (rak_customer_write)"),
        (failure(code="parameter_unknown", param="source"), "source", "STRIPE_CARDS"),
        (failure(code="payment_method_unactivated"), "payment_method", "not switched on"),
    ],
)
def test_misconfiguration_is_named(answer: Failure, reason: str, words: str) -> None:
    """In words for an operator, and shortly for the metric."""
    exception = reading(calls.CREATE, answer)
    assert isinstance(exception, Misconfigured)
    assert exception.reason == reason
    assert words in (exception.inner or "")


@pytest.mark.parametrize(
    ("status", "headers", "retry"),
    [
        (500, {}, Retry.SOON),
        (500, {"stripe-should-retry": "false"}, Retry.LATER),
        (500, {"Stripe-Should-Retry": "true"}, Retry.SOON),
        (409, {"Stripe-Should-Retry": "false"}, Retry.LATER),
        (429, {"Stripe-Should-Retry": "true"}, Retry.LATER),
        (503, {"Stripe-Should-Retry": "false", "Retry-After": "30"}, Retry.LATER),
    ],
)
def test_stripe_decides_whether_to_retry_soon(
    status: int, headers: dict[str, str], retry: Retry
) -> None:
    """https://docs.stripe.com/error-low-level#should-retry."""
    exception = reading(calls.CREATE, failure(status, headers, type="api_error"))
    assert isinstance(exception, OutcomeUnknown)
    assert exception.retry is retry
    assert (exception.retry_after is None) == (retry is Retry.SOON)


def test_lock_timeout_that_must_not_be_retried_waits() -> None:
    headers = {"Stripe-Should-Retry": "false"}
    exception = reading(calls.UPDATE, failure(429, headers, code="lock_timeout"))
    assert isinstance(exception, OutcomeUnknown)
    assert (exception.retry, exception.maybe_executed) == (Retry.LATER, False)


@pytest.mark.parametrize(
    ("named", "least"),
    [("7", 7), ("", PAUSE), ("soon", PAUSE), ("0", 0), ("999999", LONGEST_PAUSE)],
)
def test_pause_is_what_stripe_names_with_jitter(named: str, least: int) -> None:
    """Up to twice as long, so that a crowd does not come back in the same second."""
    answer = failure(429, {"Retry-After": named}, code="rate_limit")
    pauses = set()
    for _ in range(200):
        exception = reading(calls.CREATE, answer)
        assert isinstance(exception, RateLimited)
        pauses.add(exception.retry_after)
    assert len(pauses) > 1
    assert all(pause is not None and least <= pause <= max(2 * least, 1) for pause in pauses)
