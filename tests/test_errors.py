"""One test for each row of the table of errors, over a real socket."""

import dataclasses
import time
from typing import Any

import pytest
from support.problems import assert_problem
from support.serving import PATH, Caller, Partner, Service

from app.config import Settings
from app.storage.database import Database


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="missing property"),
        pytest.param({"coord_targeted_token": 1}, id="wrong type"),
        pytest.param({"coord_targeted_token": "123"}, id="wrong form"),
        pytest.param({"coord_targeted_token": "tok_1\n"}, id="newline at the end"),
        pytest.param({"coord_targeted_token": "tok_" + "a" * 252}, id="too long"),
        pytest.param({"coord_targeted_token": "tok_1", "more": 1}, id="unknown property"),
        pytest.param({"coord_targeted_token": "tok_1", "customer_id": "cus_1"}, id="read-only"),
        pytest.param([], id="no object"),
        pytest.param(None, id="null"),
    ],
)
def test_body_against_the_contract(caller: Caller, body: Any) -> None:
    """400 invalid_request, and the response does not repeat the body."""
    problem = assert_problem(caller.post(body), 400, "invalid_request")
    assert "tok_" not in problem["detail"]


def test_unknown_query_parameter(caller: Caller) -> None:
    """400 invalid_request, without the parameter's name, which the caller has chosen."""
    answer = caller.http.post(
        PATH,
        params={"access_key": caller.partner.access_key, "surprise": "1"},
        headers={"Authorization": f"Bearer {caller.partner.jwt()}"},
        json={"coord_targeted_token": "tok_visa"},
    )
    assert "surprise" not in assert_problem(answer, 400, "invalid_request")["detail"]


def test_access_key_missing(caller: Caller) -> None:
    """401 invalid_access_key."""
    answer = caller.http.post(PATH, headers={"Authorization": f"Bearer {caller.partner.jwt()}"})
    assert_problem(answer, 401, "invalid_access_key")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_access_key_unknown(caller: Caller) -> None:
    """401 invalid_access_key."""
    answer = caller.post({"coord_targeted_token": "tok_visa"}, access_key="coord_ak_unknown")
    assert_problem(answer, 401, "invalid_access_key")


def test_user_token_missing(caller: Caller) -> None:
    """401 invalid_user_token; RFC 6750, section 3.1: no error code if no token was sent."""
    answer = caller.http.post(PATH, params={"access_key": caller.partner.access_key})
    assert_problem(answer, 401, "invalid_user_token")
    assert "error=" not in answer.headers["www-authenticate"]


def test_user_token_forged(caller: Caller) -> None:
    """401 invalid_user_token."""
    forged = caller.partner.jwt()[:-8] + "AAAAAAAA"
    answer = caller.post({"coord_targeted_token": "tok_visa"}, jwt=forged)
    assert_problem(answer, 401, "invalid_user_token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_user_token_expired(caller: Caller) -> None:
    """401 user_token_expired."""
    answer = caller.save("tok_visa", exp=int(time.time()) - 60)
    assert_problem(answer, 401, "user_token_expired")


@pytest.mark.parametrize(
    ("token", "code", "decline_code"),
    [
        ("tok_chargeDeclined", "card_declined", "generic_decline"),
        ("tok_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("tok_chargeDeclinedExpiredCard", "expired_card", None),
        ("tok_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("tok_chargeDeclinedProcessingError", "processing_error", None),
    ],
)
def test_card_refused(caller: Caller, token: str, code: str, decline_code: str | None) -> None:
    """402 with Stripe's own codes."""
    problem = assert_problem(caller.save(token), 402, code)
    assert problem.get("decline_code") == decline_code


def test_test_user(caller: Caller) -> None:
    """403 test_user, by the claim."""
    assert_problem(caller.save("tok_visa", is_test_user=True), 403, "test_user")


def test_test_issuer(settings: Settings, database: Database) -> None:
    """403 test_user, by the issuer; Stripe, which is unreachable here, is not called."""
    nowhere = dataclasses.replace(settings, stripe_api_base="http://127.0.0.1:9")
    partner = Partner(database, is_test=True)
    with Service(nowhere) as service, Caller(service.url, partner) as caller:
        assert_problem(caller.save("tok_visa"), 403, "test_user")


def test_partner_mismatch(caller: Caller, database: Database) -> None:
    """403 partner_mismatch."""
    other = Partner(database, "Bolt")
    answer = caller.post({"coord_targeted_token": "tok_visa"}, jwt=other.jwt())
    assert_problem(answer, 403, "partner_mismatch")


def test_nothing_there(caller: Caller) -> None:
    """404 not_found."""
    assert_problem(caller.http.get("/v1/users/nowhere"), 404, "not_found")
    assert_problem(caller.http.get("/elsewhere"), 404, "not_found")
    assert_problem(caller.http.get("/v1/users//swagger.json"), 404, "not_found")


def test_wrong_method(caller: Caller) -> None:
    """405 method_not_allowed, with Allow."""
    answer = caller.http.get(PATH)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_payload_too_large(caller: Caller) -> None:
    """413 payload_too_large."""
    answer = caller.post({"coord_targeted_token": "tok_" + "a" * 20_000})
    assert_problem(answer, 413, "payload_too_large")


def test_payload_too_large_without_a_length(caller: Caller) -> None:
    """413 payload_too_large for a chunked body too."""

    def pieces() -> Any:
        for _ in range(40):
            yield b" " * 1000

    answer = caller.http.post(
        PATH,
        params={"access_key": caller.partner.access_key},
        headers={"Authorization": f"Bearer {caller.partner.jwt()}"},
        content=pieces(),
    )
    assert_problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json; charset=utf-16", None, "application/xml"]
)
def test_media_type(caller: Caller, content_type: str | None) -> None:
    """415 unsupported_media_type."""
    answer = caller.http.post(
        PATH,
        params={"access_key": caller.partner.access_key},
        headers={"Authorization": f"Bearer {caller.partner.jwt()}"}
        | ({"Content-Type": content_type} if content_type else {}),
        content=b'{"coord_targeted_token": "tok_visa"}',
    )
    assert_problem(answer, 415, "unsupported_media_type")
