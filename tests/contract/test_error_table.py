"""Each row of the table of errors, and each rule on a body, from real server processes.

What Schemathesis cannot bring about: it makes requests, but no time, no load and no trouble.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.error_servers import (
    NAMES,
    SAVE,
    TOKEN,
    Operation,
    Servers,
    assert_answer,
    bearer,
    by_operation,
    send,
)
from support.serving import PATH, USER_PATH, Caller, Partner

from app.sandbox.standin.server import StandIn
from app.web.body import BODY_SECONDS

# On one worker, so that they share a server.
pytestmark = [pytest.mark.contract, pytest.mark.xdist_group("rows")]


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    """Yield a stand-in that answers at once."""
    with StandIn() as running:
        yield running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Iterator[Servers]:
    """Yield what the servers share."""
    made = Servers(tmp_path_factory.mktemp("servers"), artifacts)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def caller(servers: Servers, standin: StandIn) -> Iterator[Caller]:
    """Yield a caller of a server in good health."""
    with servers.caller(standin) as calling:
        yield calling


@pytest.mark.parametrize(
    ("token", "status", "code", "kind"),
    [
        ("tok_chargeDeclined", 402, "card_declined", None),
        ("tok_chargeDeclinedExpiredCard", 402, "expired_card", None),
        ("tok_chargeDeclinedIncorrectCvc", 402, "incorrect_cvc", None),
        ("tok_chargeDeclinedProcessingError", 402, "processing_error", None),
        ("tok_standin_incorrectZip", 402, "incorrect_zip", "card_refused"),
        ("tok_nobody_knows", 422, "resource_missing", None),
        ("tok_standin_liveMode", 422, "livemode_mismatch", None),
        ("tok_standin_odd", 422, "token_odd", "token_refused"),
        ("tok_standin_forbidden", 500, "internal", None),
        ("tok_standin_unavailable", 503, "stripe_unavailable", None),
    ],
)
def test_what_stripe_answers(
    caller: Caller, token: str, status: int, code: str, kind: str | None
) -> None:
    """A token for which the stand-in plays a certain answer."""
    assert_answer(caller.save(token, f"user-{token}"), status, code, kind)


def test_token_used_before(caller: Caller, standin: StandIn) -> None:
    """422 token_already_used, for another user."""
    token = standin.new_token()
    assert caller.save(token, "first").status_code == 200
    assert_answer(caller.save(token, "second"), 422, "token_already_used")


def test_user_is_read(caller: Caller) -> None:
    """200, with all that a user may have, and with no more than each has."""
    customer_id = caller.save("tok_visa", "reader").json()["customer_id"]
    user = caller.get_user("reader", **NAMES)
    assert user.status_code == 200
    assert user.json()["stripe_info"]["stripe_customer_id"] == customer_id
    assert user.json().keys() == {
        *("external_uid", "is_test_user", "email", "first_name", "last_name", "stripe_info")
    }
    test_user = caller.get_user("reader", is_test_user=True)
    assert test_user.json() == {"external_uid": "reader", "is_test_user": True}
    assert caller.get_user("reader", method="HEAD").status_code == 200


@by_operation
def test_access_key(caller: Caller, operation: Operation) -> None:
    """401 invalid_access_key: left out, then unknown."""
    assert_answer(send(caller, operation, query={}), 401, "invalid_access_key")
    unknown = {"access_key": "coord_ak_no"}
    assert_answer(send(caller, operation, query=unknown), 401, "invalid_access_key")


@by_operation
def test_user_jwt(caller: Caller, operation: Operation) -> None:
    """401 invalid_user_token: left out, then forged; and 401 user_token_expired."""
    assert_answer(send(caller, operation, headers={}), 401, "invalid_user_token")
    forged = bearer(caller.partner.jwt()[:-8] + 8 * "A")
    assert_answer(send(caller, operation, headers=forged), 401, "invalid_user_token")
    expired = bearer(caller.partner.jwt(exp=int(time.time()) - 60))
    assert_answer(send(caller, operation, headers=expired), 401, "user_token_expired")


def test_test_user(caller: Caller) -> None:
    """403 test_user."""
    assert_answer(caller.save("tok_visa", is_test_user=True), 403, "test_user")


@by_operation
def test_credentials_of_two_partners(
    caller: Caller, servers: Servers, operation: Operation
) -> None:
    """403 partner_mismatch."""
    other = Partner(servers.database, f"Bolt-{operation.method}")
    answer = send(caller, operation, headers=bearer(other.jwt()))
    assert_answer(answer, 403, "partner_mismatch")


def test_address_and_method(caller: Caller) -> None:
    """404 not_found and 405 method_not_allowed."""
    assert_answer(caller.http.get("/v1/users/nowhere"), 404, "not_found")
    assert_answer(caller.http.get(PATH), 405, "method_not_allowed")
    assert_answer(caller.http.post(USER_PATH, json=TOKEN), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="no object"),
        pytest.param({}, id="required"),
        pytest.param({"coord_targeted_token": 1}, id="type"),
        pytest.param({"coord_targeted_token": "tok-1"}, id="pattern"),
        pytest.param({"coord_targeted_token": "tok_" + 252 * "a"}, id="one letter too many"),
        pytest.param({**TOKEN, "more": 1}, id="additional property"),
        pytest.param({**TOKEN, "customer_id": "cus_1"}, id="read-only"),
    ],
)
def test_rule_on_the_body_is_broken(caller: Caller, body: Any) -> None:
    """400 invalid_request for a body that breaks one rule, and only that one."""
    assert_answer(caller.post(body), 400, "invalid_request")


def test_longest_token(caller: Caller) -> None:
    """255 characters are taken, and sent to Stripe, which does not know them."""
    token = "tok_" + 251 * "a"
    assert_answer(caller.save(token, "long"), 422, "resource_missing")


@by_operation
@pytest.mark.parametrize("name", ["more", "access_key"])
def test_query_that_is_not_documented(caller: Caller, operation: Operation, name: str) -> None:
    """400 invalid_request: an unknown parameter, or a known one once more."""
    access_key = caller.partner.access_key
    query = [("access_key", access_key), (name, access_key)]
    assert_answer(send(caller, operation, query=query), 400, "invalid_request")


def test_body_left_out(caller: Caller) -> None:
    """400 invalid_request."""
    headers = bearer(caller.partner.jwt(), content_type="application/json")
    answer = send(caller, SAVE, headers=headers, content=b"")
    assert_answer(answer, 400, "invalid_request")


def test_other_media_type(caller: Caller) -> None:
    """415 unsupported_media_type."""
    headers = bearer(caller.partner.jwt(), content_type="text/plain")
    answer = send(caller, SAVE, headers=headers, content=b"coord_targeted_token=tok_visa")
    assert_answer(answer, 415, "unsupported_media_type")


@by_operation
def test_encoded_body(caller: Caller, operation: Operation) -> None:
    """415 unsupported_media_type, even where a body has no meaning."""
    jwt = caller.partner.jwt()
    headers = bearer(jwt, content_type="application/json", content_encoding="gzip")
    answer = send(caller, operation, headers=headers, content=b"{}")
    assert_answer(answer, 415, "unsupported_media_type")


@by_operation
def test_body_too_large(caller: Caller, operation: Operation) -> None:
    """413 payload_too_large."""
    headers = bearer(caller.partner.jwt(), content_type="application/json")
    answer = send(caller, operation, headers=headers, content=20_000 * b" ")
    assert_answer(answer, 413, "payload_too_large")


@by_operation
def test_body_too_slow(caller: Caller, operation: Operation) -> None:
    """408 request_timeout, after the time that the contract tells."""
    answered = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"{"
        answered.wait(BODY_SECONDS + 1)
        yield b"}"

    headers = bearer(caller.partner.jwt(), content_type="application/json")
    answer = send(caller, operation, headers=headers, content=pieces())
    assert_answer(answer, 408, "request_timeout")


def test_too_many_refused_cards(servers: Servers, standin: StandIn) -> None:
    """429 too_many_attempts."""
    with servers.caller(standin, REFUSALS_PER_USER="1") as caller:
        assert_answer(caller.save("tok_chargeDeclined", "thief"), 402, "card_declined")
        assert_answer(caller.save("tok_visa", "thief"), 429, "too_many_attempts")
