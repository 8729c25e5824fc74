"""The outermost layer: CORS, probes, limits of the body, responses to callers that disconnect."""

import asyncio
import dataclasses
import socket
import sqlite3
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support.serving import PATH, Caller, Partner, Service

from app.config import Settings
from app.contract.document import Contract
from app.sandbox.standin.server import StandIn
from app.telemetry.metrics import Metrics
from app.web.cors import Loopback
from app.web.edge import Edge, Probe
from app.web.problems import Problems, Response

ORIGIN = "https://partner.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


def test_pages_of_named_origins_may_call(settings: Settings, partner: Partner) -> None:
    """In the preflight and in the response, the headers allow these origins and no others."""
    settings = dataclasses.replace(settings, cors_origins=(ORIGIN,))
    with Service(settings) as service, Caller(service.url, partner) as caller:
        asked = caller.http.options(PATH, headers=PREFLIGHT)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in asked.headers["access-control-allow-methods"]
        for name in ("Authorization", "Content-Type", "X-Request-Id"):
            assert name in asked.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in asked.headers
        for token, status in (("tok_visa", 200), ("tok_chargeDeclined", 402)):
            answer = caller.post({"coord_targeted_token": token}, headers={"Origin": ORIGIN})
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("named", [(), (ORIGIN,)], ids=["none named", "another named"])
def test_pages_of_other_origins_may_not(
    settings: Settings, partner: Partner, named: tuple[str, ...]
) -> None:
    """Without these headers a browser neither sends the request nor shows the response."""
    settings = dataclasses.replace(settings, cors_origins=named)
    with Service(settings) as service, Caller(service.url, partner) as caller:
        for origin in ("https://evil.example", ORIGIN + ".evil.example", "null", "*"):
            other = {"Origin": origin}
            asked = caller.http.options(PATH, headers=PREFLIGHT | other)
            answer = caller.post({"coord_targeted_token": "tok_visa"}, headers=other)
            assert asked.status_code == 405
            for one in (asked, answer):
                assert not [name for name in one.headers if name.startswith("access-control")]
                assert one.headers.get("vary") == ("Origin" if named else None)


def test_options_without_preflight_headers_gets_405(settings: Settings, partner: Partner) -> None:
    """With `Allow`: OPTIONS is a preflight only if it has both headers of one."""
    settings = dataclasses.replace(settings, cors_origins=(ORIGIN,))
    with Service(settings) as service, Caller(service.url, partner) as caller:
        for headers in ({}, {"Origin": ORIGIN}):
            answer = caller.http.options(PATH, headers=headers)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("origin", "is_loopback"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:5173", True),
        ("http://[::1]:8080", True),
        ("https://localhost", True),
        ("http://localhost.evil.example", False),
        ("http://evil.example:3000", False),
        ("http://localhost:3000/", False),
        ("null", False),
        ("", False),
    ],
)
def test_origins_of_this_machine(origin: str, is_loopback: bool) -> None:
    """With any port and scheme; a name that only begins with `localhost` is another machine."""
    assert (origin in Loopback()) is is_loopback


@pytest.mark.parametrize(
    ("settings_of", "allowed", "others"),
    [
        ({}, ("Authorization", "traceparent", "sentry-trace", "baggage"), ("X-More",)),
        ({"cors_headers": ("X-More",)}, ("X-More",), ("Authorization",)),
    ],
)
def test_headers_that_pages_may_send(
    settings: Settings,
    settings_of: dict[str, Any],
    allowed: tuple[str, ...],
    others: tuple[str, ...],
) -> None:
    """By default also the headers that tracing in browsers adds to each request."""
    settings = dataclasses.replace(settings, cors_origins=(ORIGIN,), **settings_of)
    with Service(settings) as service:
        asked = httpx.options(service.url + PATH, headers=PREFLIGHT)
    names = asked.headers["access-control-allow-headers"].split(", ")
    assert set(allowed) <= set(names)
    assert not set(others) & set(names)


def test_type_of_a_problem_below_a_prefix(service: Service) -> None:
    """`type` is an address below the prefix under which the caller reaches the service."""
    headers = {"X-Forwarded-Prefix": "/pay"}
    for path, more in (
        ("/v1/nothing", {}),
        ("/healthz", {"Content-Encoding": "gzip"}),
    ):
        result = httpx.get(service.url + path, headers=headers | more).json()
        assert result["type"].startswith("/pay/v1/users/problems/"), result
    page = result["type"].removeprefix("/pay")
    assert httpx.get(service.url + page, headers=headers).status_code == 200


def test_operation_below_a_prefix(caller: Caller, standin: StandIn) -> None:
    """The proxy strips the prefix, although ASGI's path includes it."""
    body = {"coord_targeted_token": standin.new_token()}
    assert caller.post(body, headers={"X-Forwarded-Prefix": "/pay"}).status_code == 200
    assert caller.post(body, headers={"X-Forwarded-Prefix": "/v1/users"}).status_code == 200


def edge(app: Any, probes: Mapping[str, Probe] | None = None) -> Edge:
    """Wrap an application in the edge."""
    contract = Contract.shipped("swagger.yaml")
    return Edge(app, Problems(contract), probes or {}, Metrics(), Settings())


def scope(method: str = "POST", path: str = "/") -> dict[str, Any]:
    """Return the scope of a request."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"x")],
    }


def call(app: Any, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Send the messages of one request, and return those of its response."""
    result: list[dict[str, Any]] = []
    left = list(messages)

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def send(message: Any) -> None:
        result.append(message)

    asyncio.run(edge(app)(scope(), receive, send))  # type: ignore[arg-type]
    return result


def test_error_after_the_head_is_a_500() -> None:
    """No part of a response is sent before the response is complete."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    result = call(app, {"type": "http.request", "body": b""})
    assert [message.get("status") for message in result] == [500, None]


def test_application_receives_the_disconnect() -> None:
    """It receives the whole body first, then the server's `http.disconnect`."""
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


def test_disconnect_within_the_body_does_not_reach_the_application() -> None:
    """The request ends with 408."""

    async def app(*_: Any) -> None:
        raise AssertionError

    result = call(
        app, {"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}
    )
    assert result[0]["status"] == 408


def test_readiness_follows_the_database(settings: Settings, service: Service) -> None:
    """503 if the schema is of another version or the database is down; `/healthz` stays 200."""
    assert httpx.get(f"{service.url}/readyz").text == "ready"
    path = settings.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("delete from alembic_version")
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


def test_read_only_database_is_not_ready(settings: Settings) -> None:
    path = settings.database_url.removeprefix("sqlite:///")
    url = f"sqlite:///file:{path}?mode=ro&uri=true"
    with Service(dataclasses.replace(settings, database_url=url)) as service:
        answer = httpx.get(f"{service.url}/readyz")
    assert (answer.status_code, answer.text) == (503, "the database takes no writes")


def test_too_large_body_is_refused_before_its_end(service: Service) -> None:
    """413 as soon as a chunked body, which states no length, exceeds the limit."""
    address = urlsplit(service.url)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 10) as sock:
        sock.sendall(head + b"4001\r\n" + b" " * 0x4001 + b"\r\n")
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nconnection: close\r\n" in answer


def test_probe_does_not_wait_for_many_requests() -> None:
    """The checks of many requests on the event loop do not delay the response to a probe."""
    events: list[str] = []

    has_begun = asyncio.Event()

    async def busy(_scope: Any, _receive: Any, send: Any) -> None:
        events.append("checked")
        has_begun.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def alive() -> Response:
        events.append("alive")
        return Response(200, "", {}, b"")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(_message: Any) -> None:
        pass

    async def crowd() -> None:
        served = edge(busy, {"/healthz": alive})
        requests = [asyncio.ensure_future(served(scope(), receive, send)) for _ in range(100)]
        await has_begun.wait()
        await served(scope("GET", "/healthz"), receive, send)
        # A request that leaves the queue does not delay those behind it.
        requests[50].cancel()
        await asyncio.wait_for(asyncio.wait(requests), 10)

    asyncio.run(crowd())
    assert events.count("checked") == 99
    assert events.index("alive") < 10
