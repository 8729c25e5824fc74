"""The head of a request has bounds of size and time, over a real socket."""

import contextlib
import socket
import time
from urllib.parse import urlsplit

import pytest
from serving import PATH, Service

from app import server


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), 10)


def is_cut_off(sock: socket.socket) -> bool:
    """Tell whether the server ends the connection without an answer, in time."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let nobody take long."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
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
