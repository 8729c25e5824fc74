"""An interim response is never taken for the final one (RFC 9110, section 15.2)."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_client.calls import ask, failure
from http_client.conftest import Serve
from support.raw_server import OK

from app.http_client import HttpClient

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 9\r\n\r\n"
UNKNOWN = b"HTTP/1.1 199 x\r\n\r\n"


@pytest.mark.parametrize(
    "interim",
    [
        pytest.param([CONTINUE], id="100"),
        pytest.param([PROCESSING], id="102"),
        pytest.param([HINTS], id="103 with fields"),
        pytest.param([UNKNOWN], id="199"),
        pytest.param([CONTINUE, PROCESSING, HINTS, HINTS], id="several"),
        pytest.param([CONTINUE + PROCESSING + HINTS], id="several in one packet"),
        pytest.param([HINTS[i : i + 1] for i in range(len(HINTS))], id="byte by byte"),
        pytest.param([HINTS + OK[:9], OK[9:]], id="with the start of the final one"),
    ],
)
@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "late"])
def test_final_response_is_the_one_returned(
    client: HttpClient, serve: Serve, interim: list[bytes], pause: float
) -> None:
    """Again and again on one connection, with the fields of the final one alone."""
    rest = b"" if OK[9:] in interim else OK

    def talk(sock: socket.socket) -> None:
        for piece in interim:
            sock.sendall(piece)
            if len(interim) < 9:
                time.sleep(pause)
        sock.sendall(rest)

    server = serve(talk)
    for _ in range(3):
        with client.within(5.0):
            body, status, headers = client.request("POST", server.url, {}, "a=b")
        assert (body, status, dict(headers)) == (b"ok", 200, {"content-length": "2"})
    assert server.connections == 1


def test_interim_response_after_the_final_one(client: HttpClient, serve: Serve) -> None:
    """It arrives while the connection is idle, or in the next exchange's place."""
    arrived = threading.Event()

    def talk(sock: socket.socket) -> None:
        sock.sendall(OK)
        sock.sendall(HINTS)
        arrived.set()

    server = serve(talk)
    for _ in range(3):
        assert ask(client, server.url) == b"ok"
        assert arrived.wait(5.0)
        arrived.clear()


def test_final_response_that_never_comes(client: HttpClient, serve: Serve) -> None:
    """The late one must not become that of the next request: the connection is closed."""
    server = serve(lambda sock: sock.sendall(HINTS if len(server.requests) == 1 else OK))
    assert str(failure(client, server.url, 0.3)) == "timed out receiving the response"
    assert ask(client, server.url) == b"ok"
    assert server.connections == 2


def test_other_protocol_is_no_response(client: HttpClient, serve: Serve) -> None:
    """It was not asked for, and the server may or may not have executed the request."""
    switching = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    server = serve(lambda sock: sock.sendall(switching if len(server.requests) == 1 else OK))
    assert failure(client, server.url, 0.5).was_sent is True
    assert ask(client, server.url) == b"ok"
    assert server.connections == 2


def test_each_thread_gets_its_own_response(serve: Serve) -> None:
    """Hints at once, the response later, and it is the request's own."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(HINTS)
        mark = server.last[sock].rpartition(b"\r\n")[2]
        time.sleep(0.05)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(mark) + mark)

    server = serve(talk)
    client = HttpClient(8)

    marks = [f"mark-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda mark: ask(client, server.url, mark), marks))
    client.close()
    assert answers == [mark.encode() for mark in marks]
    assert server.connections <= 8
