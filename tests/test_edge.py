"""The outermost layer: what every request meets first, and every answer last."""

import asyncio
import dataclasses
import socket
import sqlite3
from typing import Any
from urllib.parse import urlsplit

import httpx
from serving import PATH, Caller, Partner, Service

from app.config import Settings
from app.contract import Contract
from app.edge import Edge
from app.metrics import Metrics
from app.problems import Problems

ORIGIN = "https://partner.example"


def test_pages_of_named_origins_may_call(settings: Settings, partner: Partner) -> None:
    """And no others: the answer names the one that asked."""
    settings = dataclasses.replace(settings, cors_origins=(ORIGIN,))
    with Service(settings) as service, Caller(service.url, partner) as caller:
        answer = caller.http.get("/healthz", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Origin" in answer.headers["vary"]
        other = caller.http.get("/healthz", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_preflight_of_named_origins(settings: Settings, partner: Partner) -> None:
    """Browsers ask before they send credentials or JSON; to others it is a method like any."""
    settings = dataclasses.replace(settings, cors_origins=(ORIGIN,))
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    with Service(settings) as service, Caller(service.url, partner) as caller:
        answer = caller.http.options(PATH, headers={"Origin": ORIGIN, **asked})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"authorization", "content-type"} <= set(allowed)
        assert "access-control-allow-credentials" not in answer.headers
        told = caller.post(
            {"coord_targeted_token": "tok_visa"},
            headers={"Origin": ORIGIN, "X-Request-Id": "from-a-page"},
        )
        assert told.status_code == 200
        assert "X-Request-Id" in told.headers["access-control-expose-headers"]
        for origin in ("https://evil.example", ORIGIN + ".evil.example", "null", "*"):
            answer = caller.http.options(PATH, headers={"Origin": origin, **asked})
            assert answer.status_code == 405
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["vary"] == "Origin"


def test_no_preflight_where_no_origin_is_named(caller: Caller) -> None:
    """The API is for servers and apps, unless the operator says otherwise."""
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    answer = caller.http.options(PATH, headers=asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def edge(app: Any) -> Edge:
    """Put the edge before any application."""
    contract = Contract.shipped("swagger.yaml")
    return Edge(app, Problems(contract), {}, Metrics(), Settings())


def call(app: Any, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Send the messages of one request, and give those of its answer."""
    told: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def send(message: Any) -> None:
        told.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"x")],
    }
    asyncio.run(edge(app)(scope, receive, send))  # type: ignore[arg-type]
    return told


def test_failure_in_mid_answer_is_told_as_one() -> None:
    """Nothing of an answer goes out before all of it is there."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    told = call(app, {"type": "http.request", "body": b""})
    assert [message.get("status") for message in told] == [500, None]


def test_application_hears_that_the_caller_has_gone() -> None:
    """The body is given again whole, then what the server says."""
    heard: list[Any] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        heard.extend([await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    pieces = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b"},
        {"type": "http.disconnect"},
    ]
    call(app, *pieces)
    assert heard[0]["body"] == b"ab"
    assert heard[1]["type"] == "http.disconnect"


def test_caller_that_goes_in_mid_body_is_worked_for_no_more() -> None:
    """The application never hears of it."""

    async def app(*_: Any) -> None:
        raise AssertionError

    told = call(
        app, {"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}
    )
    assert told[0]["status"] == 408


def test_readiness_follows_the_database(settings: Settings, service: Service) -> None:
    """503 where the schema is another's, or cannot be asked for; alive all the same."""
    assert httpx.get(f"{service.url}/readyz").text == "ready"
    path = settings.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = 'other'")
    connection.close()
    answer = httpx.get(f"{service.url}/readyz")
    assert (answer.status_code, answer.text) == (503, "the database is not migrated")
    with sqlite3.connect(path) as connection:
        connection.execute("drop table alembic_version")
        connection.execute("create table alembic_version (other text)")
    connection.close()
    answer = httpx.get(f"{service.url}/readyz")
    assert (answer.status_code, answer.text) == (503, "the database cannot be reached")
    assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_body_beyond_its_bounds_is_refused_before_its_end(service: Service) -> None:
    """A chunked one says nothing of its length: 413 as soon as it is too long."""
    address = urlsplit(service.url)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 10) as sock:
        sock.sendall(head + b"4001\r\n" + b" " * 0x4001 + b"\r\n")
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer
