"""Malformed and hostile requests, with valid credentials, over a real socket."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from support.serving import PATH, Caller, Service

from app.config import Settings


def send(caller: Caller, content: bytes, content_type: str = "application/json") -> httpx.Response:
    """Send bytes as the body of a POST."""
    return caller.http.post(
        PATH,
        params={"access_key": caller.partner.access_key},
        headers={
            "Authorization": f"Bearer {caller.partner.jwt()}",
            "Content-Type": content_type,
        },
        content=content,
    )


def raw(service: Service, request: bytes) -> bytes:
    """Send bytes that no HTTP library would send, and return all that the server sends back."""
    address = urlsplit(service.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 10) as sock:
        sock.sendall(request)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="broken"),
        pytest.param(b'{"coord_targeted_token": "tok_\xff"}', id="not UTF-8"),
        pytest.param(b"[" * 16_000, id="nested 16,000 deep"),
        pytest.param(b'{"a":' * 2_500 + b"1" + b"}" * 2_500, id="objects nested 2,500 deep"),
        pytest.param(b'{"coord_targeted_token": ' + b"9" * 5_000 + b"}", id="5,000 digits"),
        pytest.param(b'{"coord_targeted_token": NaN}', id="NaN"),
        pytest.param(
            b'{"coord_targeted_token": "tok_visa", "coord_targeted_token": "tok_amex"}',
            id="a name twice",
        ),
        pytest.param(b'"tok_visa"', id="a string"),
        pytest.param(b'\xef\xbb\xbf{"coord_targeted_token": "tok_visa"}', id="byte order mark"),
        pytest.param('{"coord_targeted_token": "tok_visa"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"coord_targeted_token": "tok_\\u0000"}', id="NUL"),
        pytest.param(b'{"coord_targeted_token": "tok_\\ud800"}', id="lone surrogate"),
    ],
)
def test_malformed_body_gets_400(caller: Caller, content: bytes) -> None:
    """The response is short and does not repeat the body."""
    answer = send(caller, content)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"
    assert len(answer.content) < 500
    assert "tok_" not in answer.json()["detail"]


def test_chunked_body_is_accepted(caller: Caller) -> None:
    """RFC 9112, section 6.3: a body needs no length."""
    body = iter([b'{"coord_targeted_', b'token": "tok_visa"}'])
    answer = caller.http.post(
        PATH,
        params={"access_key": caller.partner.access_key},
        headers={
            "Authorization": f"Bearer {caller.partner.jwt()}",
            "Content-Type": "application/json",
        },
        content=body,
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=UTF-8",
        'application/json;charset="utf8"',
        "APPLICATION/JSON;charset=UTF8",
        "application/json;",
        "application/json ; charset=utf-8",
        "application/json; charset=utf-8;",
        "application/json; odata.metadata=minimal",
        'application/json; profile="a;b"; charset=utf-8',
    ],
)
def test_media_type_is_case_insensitive(caller: Caller, content_type: str) -> None:
    """RFC 9110, section 8.3.1; the charset may be stated as well."""
    content = b'{"coord_targeted_token": "tok_visa"}'
    assert send(caller, content, content_type).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*", "x", "/"),
        *(";", "application/json; charset=latin-1", "application/json; a=b; charset=utf-16"),
        "application/json; a=" + "b" * 300,
    ],
)
def test_other_media_types_get_415(caller: Caller, content_type: str) -> None:
    """Whatever the media type is."""
    answer = send(caller, b'{"coord_targeted_token": "tok_visa"}', content_type)
    assert answer.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param("access_key={key}%0A", 401, id="newline after the key"),
        pytest.param("access_key={key}&access_key={key}", 400, id="twice"),
        pytest.param("access_key=", 401, id="empty"),
        pytest.param("access_key={key}&%ff=1", 400, id="not UTF-8"),
        pytest.param("access_key=" + "a" * 5_000, 401, id="long"),
        pytest.param("access_key=%00", 401, id="NUL"),
    ],
)
def test_malformed_query_gets_400(caller: Caller, query: str, status: int) -> None:
    """No query causes a 500, and none replaces the access key."""
    answer = caller.http.post(
        f"{PATH}?{query.format(key=caller.partner.access_key)}",
        headers={"Authorization": f"Bearer {caller.partner.jwt()}"},
        json={"coord_targeted_token": "tok_visa"},
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic dTpw", "bearer x y", "Bearer \u00ff", "x"]
)
def test_malformed_authorization_gets_401(caller: Caller, authorization: str) -> None:
    """invalid_user_token, however malformed the header is."""
    answer = caller.http.post(
        PATH,
        params={"access_key": caller.partner.access_key},
        headers={"Authorization": authorization.encode("latin-1")},
        json={"coord_targeted_token": "tok_visa"},
    )
    assert answer.status_code == 401
    assert answer.json()["code"] == "invalid_user_token"


def test_query_of_invalid_bytes_gets_400(service: Service) -> None:
    """RFC 3986: a URI consists of ASCII characters."""
    answer = raw(
        service,
        f"POST {PATH}?access_key=".encode()
        + b"\xff HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_content_type_of_invalid_bytes_gets_415(service: Service) -> None:
    """It does not cause an internal error."""
    answer = raw(
        service,
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: ".encode()
        + b"\xff\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    )
    assert answer.startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999999999999999", "abc"])
def test_invalid_content_length_gets_no_500(service: Service, length: str) -> None:
    """The parser or the application refuses it."""
    answer = raw(
        service,
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        "Connection: close\r\n\r\n".encode(),
    )
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")), answer


def test_service_survives_a_caller_that_disconnects(service: Service) -> None:
    """The caller disconnects in the middle of its body."""
    address = urlsplit(service.url)
    for _ in range(3):
        with socket.create_connection((str(address.hostname), int(address.port or 0)), 10) as sock:
            sock.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
    assert httpx.get(f"{service.url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [("my-request.0001", True), ("short", False), ("x" * 65, False), ("a b c d e f g h", False)],
)
def test_only_a_well_formed_request_id_is_kept(caller: Caller, given: str, kept: bool) -> None:
    """Any other one is replaced."""
    answer = caller.http.get("/v1/users/nowhere", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/users/nowhere", PATH, "/v1/users/ui/", "/healthz", "/"])
def test_each_response_has_the_security_headers(caller: Caller, path: str) -> None:
    """No response opens the API to other origins."""
    answer = caller.http.get(path, headers={"Origin": "https://evil.example"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers


def test_responses_are_not_cached(caller: Caller) -> None:
    """No cache stores a customer's id."""
    assert caller.save("tok_visa").headers["cache-control"] == "no-store"


def test_forwarded_headers_of_an_untrusted_peer_are_ignored(settings: Settings) -> None:
    """The served document names another host only if a trusted proxy states it."""
    from dataclasses import replace

    forwarded = {"X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "https"}
    with Service(settings) as service:
        served = httpx.get(f"{service.url}/v1/users/swagger.json", headers=forwarded).json()
        assert (served["host"], served["schemes"]) == ("api.example", ["https"])
    with Service(replace(settings, trusted_proxies=("10.0.0.0/8",))) as service:
        served = httpx.get(f"{service.url}/v1/users/swagger.json", headers=forwarded).json()
        assert served["host"] == urlsplit(service.url).netloc
        assert served["schemes"] == ["http"]
