"""Attacks by HTTP itself, over a real socket: each row has the attack and its response.

Each row is a request that would succeed without the attack, with valid credentials. Each response
has the form of all errors and the headers of all responses, and repeats nothing of the request.
"""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from support.serving import PATH, Partner, Service

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.storage.database import Database

BODY = b'{"coord_targeted_token": "tok_visa"}'
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
MARK = b"MARKED"
DEADLINE = 10.0


class Target(NamedTuple):
    """A service, and credentials that it takes."""

    address: tuple[str, int]
    query: bytes
    authorization: bytes

    def request(self, *fields: bytes, body: bytes = BODY, start: bytes = b"") -> bytes:
        """Write a request; fields of one name take the place of the usual ones."""
        usual = {
            b"Host": b"Host: x",
            b"Authorization": b"Authorization: " + self.authorization,
            b"Content-Type": b"Content-Type: application/json",
            b"Content-Length": b"Content-Length: %d" % len(body),
            b"Connection": b"Connection: close",
        }
        for field in fields:
            usual.pop(field.partition(b":")[0], None)
            if b"Transfer-Encoding" in field:
                usual.pop(b"Content-Length", None)
        start = start or b"POST %b?%b HTTP/1.1" % (PATH.encode(), self.query)
        lines = [start, *usual.values(), *(field for field in fields if not field.endswith(b": -"))]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def send(self, request: bytes) -> bytes:
        """Send all of it, and read until the end of the connection."""
        with socket.create_connection(self.address, DEADLINE) as sock:
            sock.sendall(request)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        return answer


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    url = f"sqlite:///{tmp_path_factory.mktemp('attacks')}/users.db"
    database = Database(url)
    database.migrate()
    partner = Partner(database)
    with StandIn() as standin:
        settings = Settings(
            database_url=url, stripe_secret_key="sk_test_1", stripe_api_base=standin.url
        )
        with Service(settings) as service:
            address = urlsplit(service.url)
            yield Target(
                (str(address.hostname), int(address.port or 0)),
                b"access_key=" + partner.access_key.encode(),
                b"Bearer " + partner.jwt().encode(),
            )
    database.close()


def statuses(answers: bytes) -> list[int]:
    """Return the status of each answer of a connection."""
    return [int(rest[:3]) for rest in answers.split(b"HTTP/1.1 ")[1:]]


def problem(answer: bytes) -> dict[str, object]:
    """Check that a response has the form of all errors, and return its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = {
        name.lower(): value.decode("latin-1")
        for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])
    }
    assert headers[b"content-type"] == "application/problem+json"
    assert headers[b"x-content-type-options"] == "nosniff"
    assert headers[b"cache-control"] == "no-store"
    assert b"content-security-policy" in headers
    parsed: dict[str, object] = json.loads(body)
    assert parsed["request_id"] == headers[b"x-request-id"]
    assert len(answer) < 1000
    assert MARK not in answer
    return parsed


def test_request_without_an_attack_succeeds(target: Target) -> None:
    """So each attack is refused for its change alone."""
    assert statuses(target.send(target.request())) == [200]
    chunked = target.request(b"Transfer-Encoding: chunked", body=CHUNKED)
    assert statuses(target.send(chunked)) == [200]


HEADS = [
    # Smuggling: two readings of where the body ends (RFC 9112, sections 6.1, 6.3 and 11.2).
    ("length and chunked", [b"Content-Length: 36", b"Transfer-Encoding: chunked"]),
    ("chunked and length", [b"Transfer-Encoding: chunked", b"Content-Length: 36"]),
    ("two lengths", [b"Content-Length: 36", b"Content-Length: 0"]),
    ("the same length twice", [b"Content-Length: 36", b"Content-Length: 36"]),
    ("a list of lengths", [b"Content-Length: 36, 36"]),
    ("a length with a sign", [b"Content-Length: +36"]),
    ("a negative length", [b"Content-Length: -1"]),
    ("a hexadecimal length", [b"Content-Length: 0x24"]),
    ("a length with an underscore", [b"Content-Length: 3_6"]),
    ("an empty length", [b"Content-Length:"]),
    ("a length beyond 64 bits", [b"Content-Length: 99999999999999999999"]),
    ("a length with a space before the colon", [b"Content-Length : 36"]),
    ("an unknown coding", [b"Transfer-Encoding: xchunked"]),
    ("a coding with a control character", [b"Transfer-Encoding: \x0bchunked"]),
    ("chunked, and then another", [b"Transfer-Encoding: chunked, identity"]),
    ("chunked twice", [b"Transfer-Encoding: chunked, chunked"]),
    ("another, and then chunked", [b"Transfer-Encoding: gzip, chunked"]),
    ("identity", [b"Transfer-Encoding: identity"]),
    ("two codings", [b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"]),
    ("chunked with a parameter", [b"Transfer-Encoding: chunked;q=1"]),
    ("a folded field", [b"X-More: a\r\n " + MARK]),
    ("a bare line feed", [b"X-More: a\nX-Other: " + MARK]),
    ("a bare carriage return", [b"X-More: a\rX-Other: " + MARK]),
    ("NUL in a field", [b"X-More: a\0" + MARK]),
    ("a name with a space", [b"X More: " + MARK]),
    ("a name that is not ASCII", [b"X-M\xf6re: " + MARK]),
    ("a field without a name", [b": " + MARK]),
    ("a field without a colon", [MARK]),
    # Fields that may occur once.
    ("no host", [b"Host: -"]),
    ("two hosts", [b"Host: x", b"Host: " + MARK]),
    ("two authorizations", [b"X: y", b"Authorization: Bearer a", b"Authorization: Bearer " + MARK]),
    ("two types", [b"Content-Type: application/json", b"Content-Type: application/json"]),
    # Beyond the bounds.
    ("a long head", [b"X-More: " + MARK * 11_000]),
    ("many long fields", [b"X-%d: " % n + MARK * 1000 for n in range(12)]),
    ("101 fields", [b"X-%d: y" % n for n in range(96)]),
]


@pytest.mark.parametrize(("name", "fields"), HEADS, ids=[name for name, _ in HEADS])
def test_head_that_parsers_read_differently(target: Target, name: str, fields: list[bytes]) -> None:
    """400 invalid_request, and the body is not parsed as a second request."""
    body = CHUNKED if any(b"Encoding" in field for field in fields) else BODY
    answers = target.send(target.request(*fields, body=body))
    assert statuses(answers) == [400]
    assert problem(answers)["code"] == "invalid_request"


STARTS = [
    ("TLS", b"\x16\x03\x01\x02\x00\x01" + MARK),
    ("HTTP/0.9", b"GET /"),
    ("HTTP/1.9", b"GET / HTTP/1.9"),
    ("HTTP/2", b"PRI * HTTP/2.0"),
    ("an unknown method", MARK + b" / HTTP/1.1"),
    ("a method in lower case", b"post / HTTP/1.1"),
    ("a tunnel", b"CONNECT evil.example:443 HTTP/1.1"),
    ("a tunnel to a path", b"CONNECT /healthz HTTP/1.1"),
    ("an address without a path", b"GET http://evil.example HTTP/1.1"),
    ("an invalid address", b"GET http://[::1/ HTTP/1.1"),
    ("a path with a space", b"GET /a " + MARK + b" HTTP/1.1"),
    ("NUL in the path", b"GET /\0" + MARK + b" HTTP/1.1"),
    ("a path that is not ASCII", b"GET /\xff HTTP/1.1"),
    ("a query that is not ASCII", b"GET /v1/users/swagger.json?\xff HTTP/1.1"),
    ("a query alone", b"GET ?a HTTP/1.1"),
    ("a long path", b"GET /" + MARK * 11_000 + b" HTTP/1.1"),
    ("a long query", b"GET /?" + MARK * 11_000 + b" HTTP/1.1"),
]


@pytest.mark.parametrize(("name", "start"), STARTS, ids=[name for name, _ in STARTS])
def test_invalid_request_line(target: Target, name: str, start: bytes) -> None:
    """400 invalid_request, whether the parser or the application refuses it."""
    answers = target.send(target.request(start=start, body=b""))
    assert statuses(answers) == [400]
    assert problem(answers)["code"] == "invalid_request"


@pytest.mark.parametrize(
    "path",
    [
        "//v1/users/user/current/stripe_info",
        f"{PATH}/",
        f"{PATH}%0A",
        f"{PATH}%00",
        f"{PATH}%20",
        f"{PATH};a",
        "/v1/users/user/../user/current/stripe_info",
        "/v1/users//user/current/stripe_info",
        "/V1/users/user/current/stripe_info",
        "/v1/users/user/current/stripe_inf%C3%B6",
        "/v1/users/user/current/stripe_info%ff",
        "*",
        "/%",
        "/%zz",
        "/%0d%0aX-More:%20a",
        "/healthz%0a",
        "/v1/users/ui/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/users//ui/",
        "/v1/users/ui//",
        "//evil.example/",
    ],
)
def test_path_that_resembles_an_operation(target: Target, path: str) -> None:
    """404, with valid credentials: no other spelling of a path avoids the checks."""
    query = target.query.decode()
    answers = target.send(target.request(start=f"POST {path}?{query} HTTP/1.1".encode()))
    assert statuses(answers) == [404]
    problem(answers)


def test_encoded_path_passes_the_same_checks(target: Target) -> None:
    """`%75` is `u`, and an address is a path with a host: both are the operation's."""
    for path in ("/v1/%75sers/user%2Fcurrent/stripe_info", f"http://evil.example{PATH}"):
        start = f"POST {path} HTTP/1.1".encode()
        body = problem(target.send(target.request(start=start)))
        assert body["code"] == "invalid_access_key"
        known = f"POST {path}?{target.query.decode()} HTTP/1.1".encode()
        assert statuses(target.send(target.request(start=known))) == [200]


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


def test_media_type_that_takes_long_to_read(target: Target) -> None:
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


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_allow_only_get_and_head(target: Target, path: str, method: str) -> None:
    answers = target.send(target.request(start=f"{method} {path} HTTP/1.1".encode()))
    assert statuses(answers) == [405]
    assert b"\r\nallow: GET, HEAD\r\n" in answers
    problem(answers)


def test_request_id_that_is_a_secret_is_replaced(target: Target) -> None:
    """Otherwise it would appear in the response, in the log, and at Stripe."""
    key = target.query.removeprefix(b"access_key=")
    for secret in (key, b"tok_1234567890", b"sk_test_1234567890"):
        answer = target.send(target.request(b"X-Request-Id: " + secret))
        assert statuses(answer) == [200]
        assert secret not in answer.partition(b"\r\n\r\n")[0]
