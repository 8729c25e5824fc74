"""One test for each row of the table of errors, over a real socket."""

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from support.serving import PATH, Caller, Partner, Service

from app.config import Settings
from app.contract.document import Contract
from app.sandbox.standin.server import StandIn
from app.storage.database import Database


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Hold an answer against RFC 9457, the contract and the table."""
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"].startswith("/v1/users/problems/")
    assert problem["title"]
    assert problem["detail"]
    if code not in ("not_found", "method_not_allowed"):
        contract = Contract.shipped("swagger.yaml").document
        operation = contract["paths"]["/user/current/stripe_info"]["post"]
        assert str(status) in operation["responses"]
    return problem


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
    """400 invalid_request, and the answer does not repeat what was sent."""
    problem = assert_problem(caller.post(body), 400, "invalid_request")
    assert "tok_" not in problem["detail"]


def test_unknown_query_parameter(caller: Caller) -> None:
    """400 invalid_request, without the parameter's name: a caller chose it."""
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
    """401 invalid_user_token; RFC 6750 wants no error code where no token was sent."""
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
    """403 test_user, by the issuer; Stripe is not called, as nobody listens there."""
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


def test_token_unknown(caller: Caller) -> None:
    """422 resource_missing; the detail says how to target a token at Coord's account."""
    problem = assert_problem(caller.save("tok_unknown"), 422, "resource_missing")
    assert "Stripe-Account" in problem["detail"]


def test_token_used(caller: Caller, standin: StandIn) -> None:
    """422 token_already_used."""
    token = standin.new_token()
    caller.save(token, "user-1")
    assert_problem(caller.save(token, "user-2"), 422, "token_already_used")


@pytest.mark.both_databases
def test_too_many_refused_cards(settings: Settings, partner: Partner) -> None:
    """429 too_many_attempts, for good cards too, until the window has passed."""
    strict = dataclasses.replace(settings, refusals_per_user=2)
    with Service(strict) as service, Caller(service.url, partner) as caller:
        for _ in range(2):
            assert caller.save("tok_chargeDeclined").status_code == 402
        answer = caller.save("tok_visa")
        assert_problem(answer, 429, "too_many_attempts")
        assert int(answer.headers["retry-after"]) > 0
        assert caller.save("tok_visa", "user-2").status_code == 200


def let_refusals_age(database: Database, seconds: float) -> None:
    """Do what time would."""
    with database.writing() as connection:
        connection.execute(text(f"update refusals set refused_at = refused_at - {seconds}"))


@pytest.mark.both_databases
@pytest.mark.parametrize("limit", ["refusals_per_user", "refusals_per_partner"])
def test_window_of_refused_cards_slides(
    settings: Settings, partner: Partner, database: Database, limit: str
) -> None:
    """`Retry-After` tells when the oldest refused card is forgotten; then another try is taken."""
    strict = dataclasses.replace(settings, **{limit: 2})
    with Service(strict) as service, Caller(service.url, partner) as caller:
        assert caller.save("tok_chargeDeclined").status_code == 402
        let_refusals_age(database, 3000)
        assert caller.save("tok_chargeDeclined").status_code == 402
        wait = int(caller.save("tok_visa").headers["retry-after"])
        assert 500 < wait <= 600
        let_refusals_age(database, wait - 30)
        assert_problem(caller.save("tok_visa"), 429, "too_many_attempts")
        let_refusals_age(database, 30)
        assert caller.save("tok_visa").status_code == 200


@pytest.mark.both_databases
def test_too_many_refused_cards_of_a_partner(settings: Settings, partner: Partner) -> None:
    """429 too_many_attempts for all users of a partner, new ones included."""
    strict = dataclasses.replace(settings, refusals_per_partner=2)
    with Service(strict) as service, Caller(service.url, partner) as caller:
        for user in ("user-1", "user-2"):
            assert caller.save("tok_chargeDeclined", user).status_code == 402
        assert_problem(caller.save("tok_visa", "user-3"), 429, "too_many_attempts")


def test_stripe_unreachable(settings: Settings, partner: Partner) -> None:
    """503 stripe_unavailable: the outcome is unknown, as far as anyone can tell."""
    nowhere = dataclasses.replace(settings, stripe_api_base="http://127.0.0.1:9")
    with Service(nowhere) as service, Caller(service.url, partner) as caller:
        answer = caller.save("tok_visa")
        assert_problem(answer, 503, "stripe_unavailable")
        assert int(answer.headers["retry-after"]) > 0


def test_stripe_refuses_our_key(settings: Settings, partner: Partner) -> None:
    """500 internal: the user can do nothing about it, and is told nothing."""
    wrong = dataclasses.replace(settings, stripe_secret_key="sk_live_wrong")
    with Service(wrong) as service, Caller(service.url, partner) as caller:
        problem = assert_problem(caller.save("tok_visa"), 500, "internal")
        assert "key" not in problem["detail"].lower()


@pytest.fixture
def slow_caller(settings: Settings, partner: Partner, database: Database) -> Any:
    """Give callers of a service whose Stripe takes three seconds and that waits for one."""
    with StandIn(delay=3.0) as slow:
        quick = dataclasses.replace(
            settings,
            stripe_api_base=slow.url,
            stripe_timeout=5.0,
            request_timeout=5.0,
            max_in_flight=1,
        )
        impatient = dataclasses.replace(quick, request_timeout=0.5, stripe_timeout=0.5)
        with (
            Service(quick) as patient_service,
            Service(impatient) as impatient_service,
            Caller(patient_service.url, partner) as patient,
            Caller(impatient_service.url, partner) as hasty,
        ):
            yield patient, hasty


def _meanwhile(slow: Callable[[], object], other: Callable[[], None], database: Database) -> None:
    """Run `other` once the slow request has its lease."""
    thread = threading.Thread(target=slow)
    thread.start()
    try:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with database.reading() as connection:
                if connection.execute(text("select count(attempt_id) from users")).scalar():
                    break
        other()
        assert thread.is_alive()
    finally:
        thread.join()


@pytest.mark.both_databases
def test_update_in_progress(slow_caller: tuple[Caller, Caller], database: Database) -> None:
    """409 update_in_progress, when another update outlasts the request's budget."""
    patient, hasty = slow_caller

    def other() -> None:
        answer = hasty.save("tok_mastercard")
        assert_problem(answer, 409, "update_in_progress")
        assert int(answer.headers["retry-after"]) > 0

    _meanwhile(lambda: patient.save("tok_visa"), other, database)


def test_overloaded(slow_caller: tuple[Caller, Caller], database: Database) -> None:
    """503 overloaded at once, when as many requests are in flight as the worker takes."""
    patient, _ = slow_caller

    def other() -> None:
        answer = patient.save("tok_visa", "user-2")
        assert_problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        assert patient.http.get("/healthz").status_code == 200

    _meanwhile(lambda: patient.save("tok_visa"), other, database)


@pytest.mark.both_databases
def test_storage_unavailable(caller: Caller, database: Database) -> None:
    """503 storage_unavailable, when the tables are gone; nothing of the database is told."""
    assert caller.save("tok_visa").status_code == 200
    with database.writing() as connection:
        connection.execute(text("alter table users rename to elsewhere"))
    problem = assert_problem(caller.save("tok_mastercard"), 503, "storage_unavailable")
    assert "users" not in problem["detail"]


def test_slow_sender(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """408 request_timeout, when the body does not arrive."""
    monkeypatch.setattr("app.web.body.BODY_SECONDS", 0.2)
    never = threading.Event()

    def pieces() -> Any:
        yield b"{"
        never.wait(1)
        yield b"}"

    answer = caller.http.post(PATH, content=pieces())
    assert_problem(answer, 408, "request_timeout")
