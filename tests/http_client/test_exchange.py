"""One request is sent once, and its response is read whole or not at all."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from http_client.calls import ask, failure
from http_client.conftest import Serve
from support.raw_server import OK, saying

from app.http_client import HttpClient, NoResponse


def test_request_as_it_is_sent(client: HttpClient, serve: Serve) -> None:
    server = serve(saying(OK))
    with client.within(5.0):
        body, status, headers = client.request("POST", server.url, {"X-Name": "value"}, "a=\u00fc")
    assert (body, status, headers["content-length"]) == (b"ok", 200, "2")
    head, _, content = server.requests[0].partition(b"\r\n\r\n")
    assert content == b"a=\xc3\xbc"
    assert set(head.decode().split("\r\n")) == {
        "POST /v1/a?b=c HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Accept: */*",
        "User-Agent: coord-users",
        "X-Name: value",
        "Content-Length: 4",
        "Content-Type: application/x-www-form-urlencoded",
    }


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", None, b""), ("DELETE", None, b""), ("POST", "", b"Content-Length: 0")],
)
def test_method_and_body_of_one_request_are_not_those_of_the_next(
    client: HttpClient, serve: Serve, method: str, body: str | None, length: bytes
) -> None:
    """A handle is used again with another request."""
    server = serve(saying(OK))
    ask(client, server.url, "a=b")
    with client.within(5.0):
        client.request(method, server.url, {}, body)
    assert server.connections == 1
    second = server.requests[1]
    assert second.startswith(f"{method} /v1/a?b=c HTTP/1.1\r\n".encode())
    assert b"X-Name" not in second
    assert second.endswith(b"\r\n\r\n")
    assert length in second


def test_path_is_sent_as_it_is(client: HttpClient, serve: Serve) -> None:
    """A stored identifier of ".." must not make another resource of it."""
    server = serve(saying(OK))
    ask(client, f"http://127.0.0.1:{server.port}/v1/customers/..")
    assert server.requests[0].startswith(b"POST /v1/customers/.. HTTP/1.1\r\n")


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b", "a\u2028b", "\u00fc"])
def test_header_that_is_not_plain_text_is_not_sent(
    client: HttpClient, serve: Serve, value: str
) -> None:
    """It could become another header, or another request."""
    server = serve(saying(OK))
    with client.within(5.0), pytest.raises(NoResponse, match="header") as raised:
        client.request("GET", server.url, {"X-Name": value}, None)
    assert value not in str(raised.value)
    assert raised.value.was_sent is False
    assert server.requests == []


@pytest.mark.parametrize(
    "scheme", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/"]
)
def test_only_http_is_spoken(client: HttpClient, scheme: str) -> None:
    assert failure(client, scheme).was_sent is False


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", id="cut body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsh", id="cut chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", id="no last chunk"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="cut head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", id="cut before the empty line"),
        pytest.param(b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\n", id="cut after an interim one"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="not HTTP"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="no length"),
    ],
)
def test_half_a_response_is_none(client: HttpClient, serve: Serve, answer: bytes) -> None:
    """It was sent once, and may have been executed."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_RDWR)

    server = serve(talk)
    assert failure(client, server.url).was_sent is True
    assert len(server.requests) == 1


def test_response_without_a_length_ends_with_its_connection(
    client: HttpClient, serve: Serve
) -> None:
    """RFC 9112, section 6.3, rule 8."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nall ")
        sock.sendall(b"of it")
        sock.shutdown(socket.SHUT_RDWR)

    server = serve(talk)
    assert [ask(client, server.url), ask(client, server.url)] == [b"all of it"] * 2
    assert server.connections == 2


def test_chunked_response_comes_whole(client: HttpClient, serve: Serve) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
        b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    server = serve(saying(*[answer[i : i + 1] for i in range(len(answer))]))
    with client.within(5.0):
        body, status, headers = client.request("GET", server.url, {})
    assert (body, status, headers["X-A"]) == (b"abc", 200, "1, 2")
    assert ask(client, server.url) == b"abc"
    assert server.connections == 1


def test_redirect_is_not_followed(client: HttpClient, serve: Serve) -> None:
    """The caller gets the address: our credentials are not for it."""
    other = serve(saying(OK))
    answer = f"HTTP/1.1 307 x\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
    with client.within(5.0):
        _, status, headers = client.request("POST", serve(saying(answer)).url, {}, "a=b")
    assert (status, headers["Location"]) == (307, other.url)
    assert other.requests == []


def endless(head: bytes, piece: bytes) -> Iterator[bytes]:
    yield head
    while True:
        yield piece


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, id="body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"10000\r\n" + b"x" * 65536 + b"\r\n",
            id="chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Name: " + b"x" * 1000 + b"\r\n", id="head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n", id="interim"),
    ],
)
def test_response_without_end_is_cut_off(serve: Serve, head: bytes, piece: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        for part in endless(head, piece):
            sock.sendall(part)

    client = HttpClient(2, largest_body=100_000)
    began = time.monotonic()
    assert failure(client, serve(talk).url, 20.0).was_sent is True
    assert time.monotonic() - began < 10.0


def test_response_as_large_as_allowed(serve: Serve) -> None:
    client = HttpClient(2, largest_body=100_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    assert ask(client, serve(saying(head % 100_000, b"x" * 100_000)).url) == b"x" * 100_000
    larger = serve(saying(head % 100_001, b"x" * 100_001))
    assert str(failure(client, larger.url)) == "the response is too large"
    client.close()


def test_compressed_body_where_it_was_asked_for(serve: Serve) -> None:
    """With the bound on what it expands to."""
    packed = gzip.compress(b"x" * 100_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server = serve(saying(head, packed))
    for largest, expected in ((100_000, b"x" * 100_000), (99_999, None)):
        client = HttpClient(0, largest_body=largest, gzip=True)
        if expected is None:
            assert str(failure(client, server.url)) == "the response is too large"
        else:
            assert ask(client, server.url) == expected
    assert b"\r\nAccept-Encoding: gzip\r\n" in server.requests[0]


def test_compressed_body_is_not_asked_for_by_default(client: HttpClient, serve: Serve) -> None:
    server = serve(saying(OK))
    ask(client, server.url)
    assert b"accept-encoding" not in server.requests[0].lower()


@pytest.mark.parametrize("junk", [b"x", OK])
def test_bytes_after_a_response_are_not_the_next_one(
    client: HttpClient, serve: Serve, junk: bytes
) -> None:
    """Whether they come with it or while the connection is idle."""
    late = threading.Event()
    sent = threading.Event()

    def talk(sock: socket.socket) -> None:
        if len(server.requests) == 1:
            sock.sendall(OK + junk)
        elif len(server.requests) == 2:
            sock.sendall(OK)
            assert late.wait(5.0)
            sock.sendall(junk)
            sent.set()
        else:
            sock.sendall(OK.replace(b"ok", b"me"))

    server = serve(talk)
    ask(client, server.url)
    ask(client, server.url)
    late.set()
    assert sent.wait(5.0)
    assert ask(client, server.url) == b"me"
    assert server.connections == 3
