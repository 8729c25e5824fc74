"""What becomes of requests: an answer that the contract knows, short, that repeats nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from contract.test_validation import CHECK, PLAIN
from fuzz.choices import Choices, choices
from fuzz.inputs import count, inputs
from fuzz.jwts import MARK, ODD_JSON
from fuzz.service import Answer, Fuzzed, fuzzed
from fuzz.test_fuzz_jwts import FRAGMENTS, check_words, json_value
from hypothesis import given
from starlette.datastructures import QueryParams
from support.serving import PATH

from app.contract.parameters import ParameterCheck
from app.errors import InvalidRequest, UnsupportedMediaType

pytestmark = pytest.mark.fuzz

NAME = '"coord_targeted_token"'
TOKENS = ["tok_visa", "tok_" + "a" * 251, "tok_" + "a" * 252, "tok_visa\n", "tok_", "tok_é", MARK]
BODY_PIECES = [
    *("{", "}", NAME, ":", ",", '"tok_visa"', '"customer_id"', '"cus_1"', " ", '"x":1', "[", "]"),
    *(json.dumps(token) for token in TOKENS),
    *('"coord_targeted_\\u0074oken"', '"tok_\\u0061"', '"tok_\\ud800"', "\ufeff", "\0"),
]
TYPES = [
    *(["application/json"] * 30),
    *("application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF8", "application/json;"),
    *("application/json; charset=latin-1", "text/json", "", ";", "application/jsonx", MARK),
    *("application/json;" + " " * 3000 + "x", "application/json; charset=" + MARK, "\xff"),
]


def body(choose: Choices) -> bytes:
    """Return a body that is right, or nearly so, or wrong."""
    kind = choose.number(6)
    if kind == 0:
        text = json.dumps({"coord_targeted_token": choose.pick(["tok_visa", *TOKENS])})
    elif kind == 1:
        names = ["coord_targeted_token", "customer_id", MARK, ""]
        text = json.dumps({choose.pick(names): json_value(choose) for _ in range(choose.number(4))})
    elif kind == 2:
        text = "{" + NAME + ":" + choose.pick(ODD_JSON) + "}"
    elif kind == 3:
        text = choose.text(FRAGMENTS, 6)
    else:
        text = "{" + NAME + ':"tok_visa"' + choose.text(BODY_PIECES, 4) + "}"
    codec = choose.pick(["utf-8"] * 60 + ["utf-16", "utf-8-sig", "latin-1", "utf-32"])
    return text.encode(codec, errors="replace")


def by_others(sent: bytes, content_type: str) -> bool:
    """Return whether a body keeps the contract, as others read JSON and schemas."""
    media_type, _, charset = content_type.lower().replace(" ", "").partition(";")
    if media_type != "application/json" or charset not in ("", "charset=utf-8", "charset=utf8"):
        return False
    found: list[int] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(len(members) - len(dict(members)))
        return dict(members)

    def refuse(_: str) -> None:
        raise ValueError

    try:
        value = json.loads(sent.decode(), object_pairs_hook=pairs, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return PLAIN.is_valid(value) and not any(found)


@inputs(20_000)
@given(choices)
def test_verdict_on_a_body_is_that_of_others(choose: Choices) -> None:
    sent, content_type = body(choose) or b" ", choose.pick(TYPES)
    refusal = None
    try:
        CHECK.check_body(sent, content_type)
    except (InvalidRequest, UnsupportedMediaType) as error:
        refusal = error.detail
    assert (refusal is None) is by_others(sent, content_type)
    if refusal:
        check_words(refusal, sent.decode("latin-1"))
    count("body", refusal or "taken")


QUERY_PIECES = [
    *(
        "access_key=1",
        "&",
        "verbose=2",
        "access_key",
        "=",
        "%",
        "%00",
        "%ff",
        "+",
        ";",
        MARK + "=1",
    ),
    *("access_key=%0A", "ACCESS_KEY=1", "access%5fkey=1", "&&", "#", "access_key[]=1", "é", "\0"),
]


PARAMETERS = ParameterCheck(
    {"in": "query", "name": name, "type": "string", "required": name == "access_key"}
    for name in ("access_key", "verbose")
)


@inputs(6_000)
@given(choices)
def test_query_that_is_taken_names_each_parameter_once(choose: Choices) -> None:
    text = choose.text(QUERY_PIECES, 6)
    given_query = QueryParams(text)
    refusal = None
    try:
        PARAMETERS({"type": "http", "query_string": text.encode(), "headers": []})
    except InvalidRequest as error:
        refusal = error.detail
    names = [name for name, _ in given_query.multi_items()]
    is_right = set(names) <= {"access_key", "verbose"} and len(names) == len(set(names))
    assert (refusal is None) is (is_right and "access_key" in names)
    if refusal:
        check_words(refusal)
    count("query", refusal or "taken")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with fuzzed(tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


# Those of the contract, and of what goes round it: pages and redirects to them.
STATUSES = {200, 302, 400, 401, 402, 404, 405, 408, 413, 415, 422}


def check_answer(answer: Answer) -> None:
    """Hold an answer to what all answers promise."""
    assert answer.status in STATUSES, answer
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" in headers
    assert len(headers["x-request-id"]) <= 64
    assert MARK not in str(headers)
    assert MARK.encode() not in answer.body
    if answer.status >= 400 and answer.body:
        problem = json.loads(answer.body)
        assert headers["content-type"] == "application/problem+json"
        assert headers["cache-control"] == "no-store"
        assert problem["status"] == answer.status
        assert problem["request_id"] == headers["x-request-id"]
        assert set(problem) <= {
            *("type", "title", "status", "detail", "code", "request_id", "decline_code"),
        }
        assert len(answer.body) < 800


PATHS = [
    *(PATH + "/", PATH + "\n", "/" + PATH, PATH.replace("/user/", "//user/"), PATH + "\0", "*"),
    *("/", "", "/v1/users/ui/", "/v1/users/ui", "/v1/users/swagger.json", "/v1/users/problems/x"),
    *("/healthz", "/metrics", "/v1/users/\xff\ufffd", "/" + MARK, "/v1/users/ui/a/b", "/%2e%2e"),
]
METHODS = ["GET", "PUT", "OPTIONS", "HEAD", "TRACE", "", "post", MARK]
ODD_HEADERS = [
    *((b"host", MARK.encode()), (b"host", b"a/b"), (b"host", b""), (b"content-length", b"0")),
    *((b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"gzip"), (b"cookie", b"a=\xff;")),
    *((b"authorization", b"Bearer " + MARK.encode()), (b"authorization", b"Bearer")),
    *((b"content-type", b"text/" + MARK.encode()), (b"content-encoding", b"gzip"), (b"te", b"x")),
    *((b"x-forwarded-host", MARK.encode()), (b"x-forwarded-proto", b"https, gopher")),
    *((b"origin", b"https://app.example"), (b"origin", MARK.encode()), (b"range", b"bytes=0-1")),
    *((b"access-control-request-method", b"POST"), (b"expect", b"100-continue")),
    *((b"x-request-id", MARK.encode() + b"\xff"), (b"x-http-method-override", b"DELETE")),
    *((b"accept", b"text/" + MARK.encode()), (b"if-none-match", b"*"), (b"x", b"y" * 20_000)),
]


def access_keys(choose: Choices, service: Fuzzed) -> bytes:
    """Return a query that is right, as a rule."""
    key = service.partner.access_key
    return choose.pick(
        [
            *[f"access_key={key}"] * 60,
            *("", f"access_key={key}%0A", f"access_key={key}&access_key={key}", "access_key=%00"),
            *(f"access_key={key[:-1]}", f"access_key={MARK}", f"access_key={key}&{MARK}=1"),
            *(f"access_key={key}&%ff", "access_key=" + "a" * 9000, f"access_key={key};a=b", "%"),
        ]
    ).encode()


@inputs(5_000)
@given(choices)
def test_request_is_answered_as_the_contract_says(service: Fuzzed, choose: Choices) -> None:
    sent = body(choose)
    token = service.partner.jwt(f"user-{choose.number(8)}").encode()
    headers = [
        (b"host", b"api.example"),
        (b"authorization", b"Bearer " + token),
        (b"content-type", choose.pick(TYPES).encode("latin-1")),
    ]
    for _ in range(choose.number(4) if choose.happens(5) else 0):
        headers.insert(choose.number(len(headers) + 1), choose.pick(ODD_HEADERS))
    if choose.happens(12):
        headers.pop(choose.number(len(headers)))
    size = 1 + choose.number(256)
    scope = {
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": choose.pick(["1.1", "1.1", "1.0"]),
        "method": choose.pick(METHODS) if choose.happens(10) else "POST",
        "scheme": "http",
        "path": choose.pick(PATHS) if choose.happens(8) else PATH,
        "root_path": "",
        "query_string": access_keys(choose, service),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    answer = service.inner.call(scope, [sent[at : at + size] for at in range(0, len(sent), size)])
    check_answer(answer)
    count("request", f"{answer.status}")


WIRE = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\xff", b"/", b"?", b"%0A", b"\x0b", b","),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n",
        b"Host: y\r\n",
        b"GET / HTTP/1.1",
    ),
    *(b"Transfer-Encoding: gzip\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"),
    *(
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b" folded\r\n",
        b"X-A: " + MARK.encode() + b"\r\n",
    ),
    *(
        b"5\r\nabcde\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"-1\r\n",
        b"HTTP/2.0",
        b"HTTP/0.9",
    ),
    *(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 300, b"X: " + b"y" * 70_000, b"TRACE "),
]


def on_the_wire(choose: Choices, service: Fuzzed) -> bytes:
    """Return the bytes of a request or two, and change a few."""
    sent = body(choose)
    lines = [
        b"POST %b?%b HTTP/1.1" % (PATH.encode(), access_keys(choose, service)),
        b"Host: x",
        b"Authorization: Bearer " + service.partner.jwt().encode(),
        b"Content-Type: application/json",
    ]
    if choose.happens(3):
        lines.append(b"Transfer-Encoding: chunked")
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent)
    else:
        lines.append(b"Content-Length: %d" % len(sent))
    request = b"\r\n".join(lines) + b"\r\n\r\n" + sent
    request *= choose.pick([1, 1, 1, 2])
    starts = [at for at in range(len(request)) if request[at - 2 : at] == b"\r\n"]
    for _ in range(choose.number(4)):
        at = choose.pick(starts) if choose.happens(2) else choose.number(len(request))
        request = request[:at] + choose.pick(WIRE) + request[at + choose.number(3) :]
    return request


def parsed(received: bytes) -> Iterator[Answer]:
    """Read answers as they stand one behind the other."""
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        start, *fields = head.split(b"\r\n")
        assert start.startswith(b"HTTP/1.1 "), start
        status = int(start[9:12])
        if status == 100:
            continue
        headers = {
            name.decode().lower(): value.decode()
            for name, _, value in (field.partition(b": ") for field in fields)
        }
        length = int(headers["content-length"])
        assert len(received) >= length
        yield Answer(status, headers, received[:length])
        received = received[length:]


@inputs(3_000)
@given(choices)
def test_bytes_are_answered_or_the_connection_ends(service: Fuzzed, choose: Choices) -> None:
    answers = list(parsed(service.exchange(on_the_wire(choose, service))))
    for answer in answers:
        check_answer(answer)
    count("bytes", " ".join(str(answer.status) for answer in answers) or "no answer")


def test_service_works_after_all_that(service: Fuzzed) -> None:
    alive = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert service.exchange(alive).endswith(b"alive")
