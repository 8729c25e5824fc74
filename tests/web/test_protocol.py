"""What a caller sends and reads has bounds of size and time, over a real socket."""

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
def hasty(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let nobody take long."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    return 0.3


@pytest.mark.parametrize("said", [b"", b"POST ", f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()])
def test_who_never_ends_the_head_is_cut_off(hasty: float, service: Service, said: bytes) -> None:
    """Even with nothing said, or with a byte every now and then."""
    with connect(service) as sock:
        began = time.monotonic()
        sock.sendall(said)
        assert is_cut_off(sock)
        assert time.monotonic() - began < hasty + 2


def test_a_second_request_has_a_clock_of_its_own(hasty: float, service: Service) -> None:
    """The connection may rest in between; its next head may not."""
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


def test_head_without_end_is_cut_off(service: Service) -> None:
    """It is not kept in memory while it grows."""
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
    """The request is answered first; whoever goes on so slowly is cut off then."""
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


def test_those_who_send_slowly_keep_nobody_out(settings: Settings, partner: Partner) -> None:
    """They wait for themselves, and not in the place of those who have sent all."""
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
def bundle(service: Service) -> bytes:
    """Ask for the largest answer that there is, and go on with the same connection."""
    page = httpx.get(f"{service.url}/v1/users/ui/").text
    path = re.search(r'src="([^"]*bundle\.js)"', page)
    assert path is not None
    return f"GET {path[1]} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody read slowly."""
    monkeypatch.setattr(transport, "READ_SECONDS", 0.5)
    monkeypatch.setattr(transport, "LINGER_SECONDS", 0.5)


@pytest.mark.parametrize("last", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_who_does_not_read_its_answers_is_cut_off(
    soon: None, service: Service, bundle: bytes, last: bytes
) -> None:
    """What it asked for is not kept for it; nor is a place, meanwhile."""
    with connect(service) as sock:
        sock.sendall(bundle * 16 + last)
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
    one = len(httpx.get(f"{service.url}{bundle.split()[1].decode()}").content)
    assert received < 16 * one


def test_who_reads_slowly_and_goes_on_is_served(service: Service, bundle: bytes) -> None:
    """A bad connection is no attack."""
    whole = 0
    with connect(service) as sock:
        sock.sendall(bundle * 8 + bundle.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        while piece := sock.recv(2**18):
            whole += len(piece)
            threading.Event().wait(0.01)
    one = len(httpx.get(f"{service.url}{bundle.split()[1].decode()}").content)
    assert whole > 9 * one


def test_who_goes_on_sending_after_the_answer_is_cut_off(soon: None, service: Service) -> None:
    """It has had the time to read why."""
    with connect(service) as sock:
        sock.sendall(b"\0\r\n\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 5:
                sock.sendall(b"x")
                threading.Event().wait(0.02)
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("is_noticed", [True, False])
def test_nothing_is_begun_for_a_caller_who_has_gone(
    service: Service,
    partner: Partner,
    standin: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    is_noticed: bool,
) -> None:
    """Who hangs up while the request waits to begin leaves nothing behind, at Stripe least.

    On a busy day the loop has not noticed yet when a thread begins; the system knows.
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
    told = ""
    while 'status="499"' not in told and time.monotonic() < deadline:
        told = httpx.get(f"{service.url}/metrics").text
    assert 'coord_users_requests_total{code="caller_is_gone",status="499"} 1.0' in told
    assert not re.search(r"coord_users_stripe_seconds_count\{.*\} [1-9]", told)


def test_caller_of_a_closed_connection_has_gone() -> None:
    """Whatever the system says of its socket."""
    here, there = socket.socketpair()
    with here, there:
        inner: Any = SimpleNamespace(is_closing=lambda: False, get_extra_info=lambda _name: here)
        reader: Any = object()
        loop: Any = object()
        closed = transport.GracefulTransport(inner, loop, reader)
        assert not closed.caller_is_gone(received_at=0.0)
        closed.detach()
        assert closed.caller_is_gone(received_at=0.0)


def test_caller_who_has_gone_where_the_system_does_not_tell(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS and Windows, whose `poll` has no such event: what the loop has read has to do."""
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
