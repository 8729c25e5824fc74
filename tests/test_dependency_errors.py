"""Errors caused by Stripe, the database, rate limits or load, each as documented."""

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from support.problems import assert_problem
from support.serving import PATH, Caller, Partner, Service

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.storage.database import Database


def test_token_unknown(caller: Caller) -> None:
    """422 resource_missing; `detail` says how to create a token for Coord's account."""
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
    """Set the refusals back by a time."""
    with database.writing() as connection:
        connection.execute(text(f"update refusals set refused_at = refused_at - {seconds}"))


@pytest.mark.both_databases
@pytest.mark.parametrize("limit", ["refusals_per_user", "refusals_per_partner"])
def test_window_of_refused_cards_slides(
    settings: Settings, partner: Partner, database: Database, limit: str
) -> None:
    """`Retry-After` states when the oldest refusal leaves the window; then one try is allowed."""
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
    """503 stripe_unavailable: the outcome is unknown."""
    nowhere = dataclasses.replace(settings, stripe_api_base="http://127.0.0.1:9")
    with Service(nowhere) as service, Caller(service.url, partner) as caller:
        answer = caller.save("tok_visa")
        assert_problem(answer, 503, "stripe_unavailable")
        assert int(answer.headers["retry-after"]) > 0


def test_stripe_refuses_our_key(settings: Settings, partner: Partner) -> None:
    """500 internal: the caller can do nothing about it and learns nothing of it."""
    wrong = dataclasses.replace(settings, stripe_secret_key="sk_live_wrong")
    with Service(wrong) as service, Caller(service.url, partner) as caller:
        problem = assert_problem(caller.save("tok_visa"), 500, "internal")
        assert "key" not in problem["detail"].lower()


@pytest.fixture
def slow_caller(settings: Settings, partner: Partner, database: Database) -> Any:
    """Yield callers of a service with a timeout of one second, whose Stripe takes three."""
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
    """Call `other` once the slow request has its lease."""
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
    """409 update_in_progress, if another update takes longer than the request's timeout."""
    patient, hasty = slow_caller

    def other() -> None:
        answer = hasty.save("tok_mastercard")
        assert_problem(answer, 409, "update_in_progress")
        assert int(answer.headers["retry-after"]) > 0

    _meanwhile(lambda: patient.save("tok_visa"), other, database)


def test_overloaded(slow_caller: tuple[Caller, Caller], database: Database) -> None:
    """503 overloaded at once, if the worker has as many requests in flight as allowed."""
    patient, _ = slow_caller

    def other() -> None:
        answer = patient.save("tok_visa", "user-2")
        assert_problem(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
        assert patient.http.get("/healthz").status_code == 200

    _meanwhile(lambda: patient.save("tok_visa"), other, database)


@pytest.mark.both_databases
def test_storage_unavailable(caller: Caller, database: Database) -> None:
    """503 storage_unavailable if the tables are missing; the database is not mentioned."""
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
