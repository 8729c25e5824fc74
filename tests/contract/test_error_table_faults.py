"""The rows of the error table that need a fault: load, missing tables, an unreachable issuer."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from contract.error_servers import (
    READ,
    SAVE,
    Servers,
    assert_answer,
    send,
)
from sqlalchemy import text
from support.serving import Caller

from app.sandbox.standin.server import StandIn
from app.storage.database import Database
from app.web.edge import MOST_READS

pytestmark = [pytest.mark.contract, pytest.mark.xdist_group("faults of the error table")]

# How long the slow stand-in takes for a call, in seconds; others come meanwhile.
SLOW = 3.0


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    """Yield a stand-in that answers at once."""
    with StandIn() as running:
        yield running


def test_stored_customer_is_none_of_stripes(
    tmp_path: Path, artifacts: Path, standin: StandIn
) -> None:
    """500 internal: what would break the contract is not answered."""
    servers = Servers(tmp_path, artifacts)
    with servers.caller(standin) as caller:
        assert caller.save("tok_visa").status_code == 200
        with servers.database.writing() as connection:
            connection.execute(text("update users set stripe_customer_id = '?'"))
        assert_answer(caller.get_user(), 500, "internal")
    servers.database.close()


def test_while_another_request_is_under_way(tmp_path: Path, artifacts: Path) -> None:
    """503 overloaded where there is room for one, 409 update_in_progress where there is more."""
    # A server does not start at a stand-in that knows none of the database's customers.
    servers = Servers(tmp_path, artifacts)
    with (
        StandIn(delay=SLOW) as slow,
        servers.caller(slow, MAX_IN_FLIGHT="1") as full,
        servers.caller(slow, REQUEST_TIMEOUT="0.5", STRIPE_TIMEOUT="0.5") as hasty,
        _meanwhile(lambda: full.save("tok_visa", "patient"), servers.database),
    ):
        assert_answer(full.save("tok_visa", "other"), 503, "overloaded")
        assert_answer(hasty.save("tok_amex", "patient"), 409, "update_in_progress")
    servers.database.close()


def test_tables_are_gone(tmp_path: Path, artifacts: Path, standin: StandIn) -> None:
    """503 storage_unavailable."""
    servers = Servers(tmp_path, artifacts)
    with servers.caller(standin) as caller:
        with servers.database.writing() as connection:
            connection.execute(text("alter table users rename to elsewhere"))
        for operation in (SAVE, READ):
            assert_answer(send(caller, operation), 503, "storage_unavailable")
    servers.database.close()


def test_issuer_is_away(tmp_path: Path, artifacts: Path, standin: StandIn) -> None:
    """503 issuer_unavailable."""
    servers = Servers(tmp_path, artifacts)
    away = "update issuers set jwks_url = 'http://127.0.0.1:9/', jwks = null"
    with servers.caller(standin) as caller:
        with servers.database.writing() as connection:
            connection.execute(text(away))
        for operation in (SAVE, READ):
            assert_answer(send(caller, operation), 503, "issuer_unavailable")
    servers.database.close()


def test_too_many_read_at_once(tmp_path: Path, artifacts: Path, standin: StandIn) -> None:
    """503 overloaded: all places for reads wait for the keys of an issuer that never answers."""
    servers = Servers(tmp_path, artifacts)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=2 * MOST_READS) as silent,
        servers.caller(standin) as caller,
        Caller(str(caller.http.base_url), caller.partner) as another,
        ThreadPoolExecutor(MOST_READS + 1) as threads,
    ):
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with servers.database.writing() as connection:
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
    servers.database.close()


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
