"""Attacks by the framing of requests: chunks, trailers, codings, pipelines, half-closed sockets.

The requests, and the checks of each response, are those of `test_http_attacks.py`.
"""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.attack_target import BODY, CHUNKED, DEADLINE, MARK, Target, attacked, problem, statuses


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked(tmp_path_factory.mktemp("attacks")) as target:
        yield target


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("an invalid size", b"zz\r\n" + BODY),
        ("a negative size", b"-1\r\n" + BODY),
        ("a size beyond 64 bits", b"f" * 17 + b"\r\n" + BODY),
        ("a size with a prefix", b"0x24\r\n" + BODY),
        ("a size with a space", b"24 \r\n" + BODY),
        ("line feeds alone", CHUNKED.replace(b"\r\n", b"\n")),
        ("a chunk longer than it says", b"23\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("an extension with a line feed", b"24;a\n" + BODY + b"\r\n0\r\n\r\n"),
        ("a long extension", b"24;" + b"a" * 300_000),
        ("long trailers", CHUNKED[:-2] + b"X-More: " + MARK * 50_000),
        ("an invalid trailer", CHUNKED[:-2] + MARK + b"\0\r\n\r\n"),
    ],
)
def test_invalid_chunks(target: Target, name: str, body: bytes) -> None:
    """400, although the application is already waiting for the rest of the body."""
    request = target.request(b"Transfer-Encoding: chunked", body=body)
    answers = target.send(request)
    assert statuses(answers) == [400]
    problem(answers)


def test_chunk_extensions_and_trailers_are_ignored(target: Target) -> None:
    """They are allowed (RFC 9112, sections 7.1.1 and 7.1.2), and have no meaning here."""
    body = b'24;a=b;c="d"\r\n' + BODY + b"\r\n0;e\r\nX-More: a\r\n\r\n"
    answers = target.send(target.request(b"Transfer-Encoding: chunked", body=body))
    assert statuses(answers) == [200]


@pytest.mark.parametrize("field", ["Authorization", "Content-Type"])
def test_trailer_does_not_replace_a_header(target: Target, field: str) -> None:
    """A field that a proxy removes from the head cannot be sent after the body instead."""
    usual = {"Authorization": target.authorization, "Content-Type": b"application/json"}
    trailer = field.encode() + b": " + usual[field] + b"\r\n\r\n"
    request = target.request(
        b"Transfer-Encoding: chunked", field.encode() + b": -", body=CHUNKED[:-2] + trailer
    )
    assert statuses(target.send(request)) == [401 if field == "Authorization" else 415]


@pytest.mark.parametrize(
    "fields", [[b"gzip"], [b"identity, gzip"], [b"identity", b"gzip"], [b"gzip", b"identity"]]
)
def test_coding_of_the_content(target: Target, fields: list[bytes]) -> None:
    """415: nothing is decompressed, so a decompression bomb does no harm."""
    codings = [b"Content-Encoding: " + coding for coding in fields]
    body = problem(target.send(target.request(*codings)))
    assert body["code"] == "unsupported_media_type"


@pytest.mark.parametrize("coding", [b"identity", b"Identity ", b""])
def test_coding_that_leaves_the_content_as_it_is(target: Target, coding: bytes) -> None:
    assert statuses(target.send(target.request(b"Content-Encoding: " + coding))) == [200]


def test_blanks_around_values(target: Target) -> None:
    """They are not part of the value (RFC 9110, section 5.5)."""
    for field in (
        b"Host: x ",
        b"Host:\tx\t",
        b"Authorization:  " + target.authorization + b" \t ",
        b"Content-Type: application/json ",
        b"Content-Length: 36 ",
    ):
        assert statuses(target.send(target.request(field))) == [200], field
    chunked = target.request(b"Transfer-Encoding: chunked ", body=CHUNKED)
    assert statuses(target.send(chunked)) == [200]


def test_media_type_cannot_cause_backtracking(target: Target) -> None:
    """415 at once: no regular expression backtracks over the field."""
    spaces = b"Content-Type: application/json;" + b" " * 60_000 + b"x"
    body = problem(target.send(target.request(spaces)))
    assert body["code"] == "unsupported_media_type"


def test_upgrade_to_another_protocol_is_ignored(target: Target) -> None:
    """Java's client offers one in each request, and gets a response in HTTP/1.1."""
    offers = [b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"]
    request = target.request(b"Connection: Upgrade, HTTP2-Settings", *offers)
    last = target.request(b"Connection: close, Upgrade", *offers)
    assert statuses(target.send(request + request + last)) == [200, 200, 200]
    socket = b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    assert statuses(target.send(socket + b"Connection: close, Upgrade\r\n\r\n")) == [200]


def test_pipelined_requests_are_answered_in_order(target: Target) -> None:
    """The last one decides when the connection ends."""
    going_on = target.request(b"Connection: keep-alive")
    broken = target.request(b"Connection: keep-alive", body=b"{")
    assert statuses(target.send(going_on + broken + target.request())) == [200, 400, 200]


def test_garbage_after_a_request_does_not_change_its_response(target: Target) -> None:
    """Otherwise a success would be reported as a failure."""
    going_on = target.request(b"Connection: keep-alive")
    assert statuses(target.send(going_on + b"\0\r\n\r\n")) == [200]
    assert statuses(target.send(going_on + b"\0\r\n\r\n" + target.request())) == [200]


def test_invalid_body_after_a_request_has_its_own_response(target: Target) -> None:
    going_on = target.request(b"Connection: keep-alive")
    broken = target.request(b"Transfer-Encoding: chunked", body=b"zz\r\n")
    assert statuses(target.send(going_on + broken)) == [200, 400]


def test_pipelined_requests_are_bounded(target: Target) -> None:
    """Of thousands at once, the first get a response, and the others are not stored."""
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = target.send(one * 5000)
    assert 1 <= len(statuses(answers)) <= 20
    assert set(statuses(answers)) == {200}


def test_caller_may_close_its_half_after_sending(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its response, unless that takes long (RFC 9112, section 9.6)."""
    monkeypatch.setattr("app.web.transport.HALF_CLOSED_SECONDS", DEADLINE)
    with socket.create_connection(target.address, DEADLINE) as sock:
        sock.sendall(target.request(b"Connection: keep-alive"))
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert statuses(answer) == [200]


@pytest.mark.measures
def test_connection_that_the_caller_half_closed_is_closed_soon(target: Target) -> None:
    """As is that of a refused request: each is closed on both sides."""
    began = time.monotonic()
    for sent in (target.request() + b"\0", b"\0\r\n\r\n", target.request()[:-3]):
        with socket.create_connection(target.address, DEADLINE) as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
            peer = sock.getsockname()
        while peer in _open_connections():
            assert time.monotonic() - began < 1.5


def _open_connections() -> set[tuple[str, int]]:
    """Return the addresses of the callers to which this process has an open connection."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established, close_wait, last_ack = "01", "08", "09"
    return {
        ("127.0.0.1", int(line[2].rpartition(":")[2], 16))
        for line in lines
        if line[3] in (established, close_wait, last_ack)
    }


def test_body_that_is_sent_at_once_and_is_too_large(target: Target) -> None:
    """413, which a caller that is still sending can read."""
    for size in (20_000, 300_000, 6_000_000):
        with socket.create_connection(target.address, DEADLINE) as sock:
            sock.sendall(target.request(body=b"x" * size))
            assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_body_of_a_request_that_was_refused_by_its_head(target: Target) -> None:
    """The server does not wait for it: the connection is closed instead of staying idle."""
    request = target.request(b"Connection: keep-alive", b"Content-Encoding: gzip", body=b"x" * 999)
    with socket.create_connection(target.address, DEADLINE) as sock:
        sock.sendall(request[:-900])
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert statuses(answer) == [415]
