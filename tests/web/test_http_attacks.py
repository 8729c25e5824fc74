"""Attacks by HTTP itself, over a real socket: each row has the attack and its response.

Each row is a request that would succeed without the attack, with valid credentials. Each response
has the form of all errors and the headers of all responses, and repeats nothing of the request.
"""

from collections.abc import Iterator

import pytest
from support.attack_target import BODY, CHUNKED, MARK, Target, attacked, problem, statuses
from support.serving import PATH


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked(tmp_path_factory.mktemp("attacks")) as target:
        yield target


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
