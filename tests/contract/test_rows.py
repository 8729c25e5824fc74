"""Each row of the table of errors, and each rule on a body, from real server processes.

What Schemathesis cannot bring about: it makes requests, but no time, no load and no trouble.
"""

import contextlib
import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from contract.exchanges import Exchange, write
from sqlalchemy import text
from support.server_process import serving
from support.serving import PATH, USER_PATH, Caller, Partner

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.storage.database import Database
from app.web.body import BODY_SECONDS
from app.web.edge import MOST_READS

# On one worker, so that they share a server.
pytestmark = [pytest.mark.contract, pytest.mark.xdist_group("rows")]

# How long the slow stand-in takes for a call, in seconds; others come meanwhile.
SLOW = 3.0
TOKEN = {"coord_targeted_token": "tok_visa"}
NAMES = {"email": "ada@mail.example", "given_name": "Ada", "family_name": "Lovelace"}


class Operation(NamedTuple):
    """One operation, and a body that it takes, None where it takes none."""

    method: str
    path: str
    body: Any


SAVE = Operation("POST", PATH, TOKEN)
READ = Operation("GET", USER_PATH, None)
by_operation = pytest.mark.parametrize("operation", [SAVE, READ], ids=lambda one: one.method)


class House:
    """A database, a partner, and servers that share them."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self.folder = folder
        self._kept = artifacts / "rows" / f"exchanges-{os.getpid()}.jsonl"
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(
            database_url=f"sqlite:///{folder}/users.db",
            stripe_secret_key="sk_test_rows",
            stripe_timeout=8.0,
            request_timeout=8.0,
        )
        self.database = Database(self.settings.database_url)
        self.database.migrate()
        self.partner = Partner(self.database)

    @contextlib.contextmanager
    def caller(self, standin: StandIn, **environ: str) -> Iterator[Caller]:
        """Yield a caller of a server of its own; each exchange is kept."""
        settings = dataclasses.replace(self.settings, stripe_api_base=standin.url)
        log = self.folder / f"{time.monotonic_ns()}.log"
        with (
            serving(settings, log, **environ) as server,
            Caller(server.url, self.partner) as caller,
        ):
            caller.http.event_hooks = {"response": [self._keep]}
            yield caller

    def _keep(self, response: httpx.Response) -> None:
        response.read()
        asked = response.request
        sent = b""
        # One that came in pieces is gone.
        with contextlib.suppress(httpx.StreamConsumed):
            sent = asked.read()
        write(
            Exchange.of(
                asked.method,
                str(asked.url),
                dict(asked.headers),
                sent,
                response.status_code,
                dict(response.headers),
                response.content,
            ),
            self._kept,
        )


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    """Yield a stand-in that answers at once."""
    with StandIn() as running:
        yield running


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Iterator[House]:
    """Yield what the servers share."""
    made = House(tmp_path_factory.mktemp("house"), artifacts)
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def caller(house: House, standin: StandIn) -> Iterator[Caller]:
    """Yield a caller of a server in good health."""
    with house.caller(standin) as calling:
        yield calling


def send(
    caller: Caller,
    operation: Operation,
    *,
    query: Any = None,
    headers: dict[str, str] | None = None,
    content: Any = None,
) -> httpx.Response:
    """Send a good request, but for what is given of it."""
    if query is None:
        query = {"access_key": caller.partner.access_key}
    body: dict[str, Any] = {"content": content}
    if operation.body and content is None:
        body = {"json": operation.body}
    given = bearer(caller.partner.jwt()) if headers is None else headers
    return caller.http.request(
        operation.method, operation.path, params=query, headers=given, **body
    )


def bearer(jwt: str, **more: str) -> dict[str, str]:
    """Return the header of a JWT, and more headers."""
    fields = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Authorization": f"Bearer {jwt}", **fields}


def assert_answer(answer: httpx.Response, status: int, code: str, kind: str | None = None) -> None:
    """Hold an answer against a row; its kind is its code, but for codes that are not listed."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem["type"] == f"/v1/users/problems/{kind or code}"


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


def test_stored_customer_is_none_of_stripes(
    tmp_path: Path, artifacts: Path, standin: StandIn
) -> None:
    """500 internal: what would break the contract is not answered."""
    house = House(tmp_path, artifacts)
    with house.caller(standin) as caller:
        assert caller.save("tok_visa").status_code == 200
        with house.database.writing() as connection:
            connection.execute(text("update users set stripe_customer_id = '?'"))
        assert_answer(caller.get_user(), 500, "internal")
    house.database.close()


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
def test_credentials_of_two_partners(caller: Caller, house: House, operation: Operation) -> None:
    """403 partner_mismatch."""
    other = Partner(house.database, f"Bolt-{operation.method}")
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


def test_too_many_refused_cards(house: House, standin: StandIn) -> None:
    """429 too_many_attempts."""
    with house.caller(standin, REFUSALS_PER_USER="1") as caller:
        assert_answer(caller.save("tok_chargeDeclined", "thief"), 402, "card_declined")
        assert_answer(caller.save("tok_visa", "thief"), 429, "too_many_attempts")


def test_while_another_request_is_under_way(tmp_path: Path, artifacts: Path) -> None:
    """503 overloaded where there is room for one, 409 update_in_progress where there is more."""
    # A server does not start at a stand-in that knows none of the database's customers.
    house = House(tmp_path, artifacts)
    with (
        StandIn(delay=SLOW) as slow,
        house.caller(slow, MAX_IN_FLIGHT="1") as full,
        house.caller(slow, REQUEST_TIMEOUT="0.5", STRIPE_TIMEOUT="0.5") as hasty,
        _meanwhile(lambda: full.save("tok_visa", "patient"), house.database),
    ):
        assert_answer(full.save("tok_visa", "other"), 503, "overloaded")
        assert_answer(hasty.save("tok_amex", "patient"), 409, "update_in_progress")
    house.database.close()


def test_tables_are_gone(tmp_path: Path, artifacts: Path, standin: StandIn) -> None:
    """503 storage_unavailable."""
    house = House(tmp_path, artifacts)
    with house.caller(standin) as caller:
        with house.database.writing() as connection:
            connection.execute(text("alter table users rename to elsewhere"))
        for operation in (SAVE, READ):
            assert_answer(send(caller, operation), 503, "storage_unavailable")
    house.database.close()


def test_issuer_is_away(tmp_path: Path, artifacts: Path, standin: StandIn) -> None:
    """503 issuer_unavailable."""
    house = House(tmp_path, artifacts)
    away = "update issuers set jwks_url = 'http://127.0.0.1:9/', jwks = null"
    with house.caller(standin) as caller:
        with house.database.writing() as connection:
            connection.execute(text(away))
        for operation in (SAVE, READ):
            assert_answer(send(caller, operation), 503, "issuer_unavailable")
    house.database.close()


def test_too_many_read_at_once(tmp_path: Path, artifacts: Path, standin: StandIn) -> None:
    """503 overloaded: all places for reads wait for the keys of an issuer that never answers."""
    house = House(tmp_path, artifacts)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=2 * MOST_READS) as silent,
        house.caller(standin) as caller,
        Caller(str(caller.http.base_url), caller.partner) as another,
        ThreadPoolExecutor(MOST_READS + 1) as threads,
    ):
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with house.database.writing() as connection:
            query = text("update issuers set jwks_url = :url, jwks = null")
            connection.execute(query, {"url": url})
        # One client opens no more connections than there are places.
        another.http.event_hooks = caller.http.event_hooks
        jwt = caller.partner.jwt()
        reads = [
            threads.submit((caller, another)[number % 2].get_user, jwt=jwt)
            for number in range(MOST_READS + 1)
        ]
        answers = [read.result() for read in reads]
    overloaded = [answer for answer in answers if answer.json()["code"] == "overloaded"]
    assert overloaded
    assert_answer(overloaded[0], 503, "overloaded")
    house.database.close()


@contextlib.contextmanager
def _meanwhile(slow: Callable[[], httpx.Response], database: Database) -> Iterator[None]:
    """Go on once the slow request has its lease, and see it through."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(slow()))
    thread.start()
    try:
        until = time.monotonic() + SLOW
        query = text("select count(attempt_id) from users where subject = 'patient'")
        while time.monotonic() < until:
            with database.reading() as connection:
                if connection.execute(query).scalar():
                    break
            time.sleep(0.02)
        yield
    finally:
        thread.join()
    assert [answer.status_code for answer in answers] == [200]
