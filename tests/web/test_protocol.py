"""Limits of size and time on what a caller sends and reads, over a real socket."""

import asyncio
import contextlib
import dataclasses
import re
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support.serving import PATH, Caller, Partner, Service

from app.config import Settings
from app.customers.user import User
from app.identity.credentials import Identity
from app.sandbox.standin.server import StandIn
from app.telemetry.trace import CALLER_IS_GONE
from app.web import protocol, transport
from app.web.edge import Edge
from app.web.server import config_for


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), 10)


def is_cut_off(sock: socket.socket) -> bool:
    """Return whether the server ends the connection without an answer, in time."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> float:
    """Shorten the limits of time for sending a request."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    return 0.3


@pytest.mark.parametrize("said", [b"", b"POST ", f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()])
def test_incomplete_head_is_cut_off(short_timeouts: float, service: Service, said: bytes) -> None:
    """Even if the caller sends nothing, or a byte from time to time."""
    with connect(service) as sock:
        began = time.monotonic()
        sock.sendall(said)
        assert is_cut_off(sock)
        assert time.monotonic() - began < short_timeouts + 2


def test_each_head_has_its_own_timeout(short_timeouts: float, service: Service) -> None:
    """An idle connection is kept; a head on it that stays incomplete is not."""
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(service) as sock:
        for _ in range(2):
            sock.sendall(request)
            answer = b""
            while not answer.endswith(b"alive"):
                answer += sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
        sock.sendall(request[:-2])
        assert is_cut_off(sock)


def test_idle_connection_is_closed_after_its_time(settings: Settings) -> None:
    """Which is longer than that of proxies in front, by default."""
    brief = dataclasses.replace(settings, keep_alive_seconds=1)
    with Service(brief) as service, connect(service) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        answered = time.monotonic()
        assert is_cut_off(sock)
        # The event loop's clock may be a tick behind.
        assert time.monotonic() - answered > 0.9
    assert config_for(None, settings).timeout_keep_alive == 75


def test_too_large_head_is_cut_off(service: Service) -> None:
    """Memory does not grow with it."""
    with connect(service) as sock:
        sock.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode())
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 2**28:
                sock.sendall(b"X-More: " + b"y" * 8_000 + b"\r\n")
                sent += 8_000
        assert sent < 2**24


def test_head_that_begins_behind_a_slow_request_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, partner: Partner
) -> None:
    """The request gets its response; then the slow head is cut off."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    request = (
        f"POST {PATH}?access_key={partner.access_key} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {partner.jwt()}\r\nContent-Type: application/json\r\n"
        'Content-Length: 36\r\n\r\n{"coord_targeted_token": "tok_visa"}'
    )
    with (
        StandIn(delay=0.5) as slow,
        Service(dataclasses.replace(settings, stripe_api_base=slow.url)) as service,
        connect(service) as sock,
    ):
        sock.sendall(request.encode())
        until = time.monotonic() + 10
        while "coord_users_in_flight 1.0" not in httpx.get(f"{service.url}/metrics").text:
            assert time.monotonic() < until
        sock.sendall(b"GET /healthz HT")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_slow_bodies_occupy_no_place(settings: Settings, partner: Partner) -> None:
    """A request takes a place only once its body has arrived."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode()
    with (
        Service(dataclasses.replace(settings, max_in_flight=1)) as service,
        Caller(service.url, partner) as caller,
        contextlib.ExitStack() as slow,
    ):
        for _ in range(3):
            slow.enter_context(connect(service)).sendall(head)
        assert caller.save("tok_visa").status_code == 200


@pytest.fixture
def pipeline(service: Service) -> bytes:
    """Request the largest response on one connection, again and again."""
    page = httpx.get(f"{service.url}/v1/users/ui/").text
    path = re.search(r'src="([^"]*bundle\.js)"', page)
    assert path is not None
    return f"GET {path[1]} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.fixture
def short_read_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the limit of time for reading a response."""
    monkeypatch.setattr(transport, "READ_SECONDS", 0.5)
    monkeypatch.setattr(transport, "LINGER_SECONDS", 0.5)


@pytest.mark.parametrize("last", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_caller_that_does_not_read_is_cut_off(
    short_read_timeout: None, service: Service, pipeline: bytes, last: bytes
) -> None:
    """The responses are not kept for it, and it occupies no place meanwhile."""
    with connect(service) as sock:
        sock.sendall(pipeline * 16 + last)
        figures = "coord_users_in_flight 1.0"
        until = time.monotonic() + 10
        while "coord_users_in_flight 0.0" not in figures:
            assert time.monotonic() < until
            figures = httpx.get(f"{service.url}/metrics").text
        threading.Event().wait(1.5)
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(2**20):
                received += len(piece)
    one = len(httpx.get(f"{service.url}{pipeline.split()[1].decode()}").content)
    assert received < 16 * one


def test_slow_reader_that_makes_progress_is_served(service: Service, pipeline: bytes) -> None:
    """A slow connection is not an attack."""
    whole = 0
    with connect(service) as sock:
        sock.sendall(pipeline * 8 + pipeline.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        while piece := sock.recv(2**18):
            whole += len(piece)
            threading.Event().wait(0.01)
    one = len(httpx.get(f"{service.url}{pipeline.split()[1].decode()}").content)
    assert whole > 9 * one


def test_caller_that_keeps_sending_after_its_response_is_cut_off(
    short_read_timeout: None, service: Service
) -> None:
    """It has had time to read the reason."""
    with connect(service) as sock:
        sock.sendall(b"\0\r\n\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 5:
                sock.sendall(b"x")
                threading.Event().wait(0.02)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("is_noticed", [True, False])
def test_request_of_a_disconnected_caller_is_not_begun(
    service: Service,
    partner: Partner,
    standin: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    is_noticed: bool,
) -> None:
    """A caller that disconnects while its request waits causes no call to Stripe.

    Under load, the event loop may not have noticed it when a thread begins; the system has.
    """
    monkeypatch.setattr(transport, "HALF_CLOSED_SECONDS", 0.0)
    waits, may_go_on = threading.Event(), threading.Event()
    user_of = Identity.user_of

    async def slow(self: Identity, jwt: str, partner_id: int | None) -> User:
        waits.set()
        if is_noticed:
            await asyncio.to_thread(may_go_on.wait, 10)
        else:
            may_go_on.wait(10)
        return await user_of(self, jwt, partner_id)

    monkeypatch.setattr(Identity, "user_of", slow)
    body = f'{{"coord_targeted_token": "{standin.new_token()}"}}'
    head = (
        f"POST {PATH}?access_key={partner.access_key} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {partner.jwt()}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with connect(service) as sock:
        sock.sendall((head + body).encode())
        assert waits.wait(10)
    may_go_on.set()
    deadline = time.monotonic() + 10
    result = ""
    while 'status="499"' not in result and time.monotonic() < deadline:
        result = httpx.get(f"{service.url}/metrics").text
    assert 'coord_users_requests_total{code="caller_is_gone",status="499"} 1.0' in result
    assert not re.search(r"coord_users_stripe_seconds_count\{.*\} [1-9]", result)


def test_closed_connection_counts_as_disconnected() -> None:
    """Whatever the system reports of its socket."""
    here, there = socket.socketpair()
    with here, there:
        inner: Any = SimpleNamespace(is_closing=lambda: False, get_extra_info=lambda _name: here)
        reader: Any = object()
        loop: Any = object()
        closed = transport.GracefulTransport(inner, loop, reader)
        assert not closed.caller_is_gone(received_at=0.0)
        closed.detach()
        assert closed.caller_is_gone(received_at=0.0)


def test_disconnect_without_the_poll_event(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS and Windows, `poll` has no such event: what the event loop has read must suffice."""
    monkeypatch.setattr(transport, "PEER_CLOSED", None)
    monkeypatch.setattr(transport, "HALF_CLOSED_SECONDS", -1.0)
    asked: dict[str, bool] = {}
    respond = Edge.__call__

    async def asking(self: Edge, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            is_gone = scope["state"][CALLER_IS_GONE]
            while scope["path"] == "/gone" and not is_gone():
                await asyncio.to_thread(time.sleep, 0.01)
            asked[scope["path"]] = is_gone()
        await respond(self, scope, receive, send)

    monkeypatch.setattr(Edge, "__call__", asking)
    assert httpx.get(f"{service.url}/there").status_code == 404
    with connect(service) as sock:
        sock.sendall(b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        # If it still reads, it learns that nothing was begun.
        assert sock.recv(65536).startswith(b"HTTP/1.1 503 ")
    assert asked == {"/there": False, "/gone": True}
