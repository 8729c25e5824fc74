"""Where keys come from: what is fetched, from where, and which answers are read."""

import gzip
import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.issuer import ISSUER, SECRET, JwksServer, signer

from app.errors import ConfigurationError
from app.identity import jwks
from app.identity.jwks import LARGEST_DOCUMENT, KeySource, fetch

KEY = signer(kid="key").jwk
GZIP = {"Content-Encoding": "gzip"}
JWK_SET = json.dumps({"keys": [KEY]}).encode()


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer(KEY) as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [
        JWK_SET,
        b"\xef\xbb\xbf" + JWK_SET,
        JWK_SET + b" " * (LARGEST_DOCUMENT - len(JWK_SET)),
        json.dumps({"keys": [KEY], "jwks_uri": "x", "other": [1.5, None]}).encode(),
    ],
    ids=["plain", "byte order mark", "large", "other members"],
)
def test_a_jwk_set_is_read(server: JwksServer, body: bytes) -> None:
    """Whatever its `Content-Type` says."""
    server.body = body
    for server.headers in ({}, {"Content-Type": "text/plain"}):
        assert [key.kid for key in fetch(server.url, ISSUER).usable] == ["key"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_gzip_is_read(server: JwksServer, mark: bytes) -> None:
    """Some servers send it whether or not it is asked for."""
    server.body, server.headers = gzip.compress(mark + JWK_SET), GZIP
    assert len(fetch(server.url, ISSUER).usable) == 1


def test_an_interim_response_is_not_the_final_one(server: JwksServer) -> None:
    """RFC 8297: 103 comes first, with hints."""
    server.interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    assert len(fetch(server.url, ISSUER).usable) == 1


BAD_ANSWERS: list[tuple[str, bytes | None, int, str]] = [
    ("not JSON", b"<html>", 200, "is not valid JSON"),
    ("duplicate names", b'{"keys": [], "keys": []}', 200, "has a name twice"),
    ("nested deep", b"[" * 60_000, 200, "is nested too deeply"),
    ("not a set", b"[]", 200, "is an object"),
    ("empty", b"", 200, "is not valid JSON"),
    ("not found", None, 404, "answers with status 404"),
    ("a redirect to nowhere", None, 301, "answers with status 301"),
    ("broken", None, 500, "answers with status 500"),
]


@pytest.mark.parametrize(("name", "body", "status", "words"), BAD_ANSWERS)
def test_a_bad_answer_is_refused(
    server: JwksServer, name: str, body: bytes | None, status: int, words: str
) -> None:
    server.body, server.status = body, status
    with pytest.raises(ConfigurationError, match=words):
        fetch(server.url, ISSUER)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (JWK_SET + b" " * LARGEST_DOCUMENT, "too large"),
        (gzip.compress(JWK_SET * 10_000), "too large"),
        (b"\x1f\x8b" + JWK_SET, "cannot be fetched"),
        (gzip.compress(JWK_SET)[:-40], "cannot be fetched|not valid JSON"),
    ],
    ids=["too large", "too large once unpacked", "damaged", "cut off"],
)
def test_a_body_that_cannot_be_read_is_refused(server: JwksServer, body: bytes, words: str) -> None:
    server.body = body
    server.headers = GZIP if body.startswith(b"\x1f\x8b") else {}
    with pytest.raises(ConfigurationError, match=words):
        fetch(server.url, ISSUER)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("relative", [True, False])
def test_a_redirect_on_the_same_host_is_followed(
    server: JwksServer, status: int, relative: bool
) -> None:
    target = "/v2/keys" if relative else f"{server.base}/v2/keys"
    server.answers["/keys.json"] = (status, {"Location": target}, b"")
    assert len(fetch(server.url, ISSUER).usable) == 1
    assert server.fetches == 2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://localhost:{port}/keys", "redirects to another host"),
        ("https://127.0.0.1:{port}/keys", "redirects to another host"),
        ("http://user@127.0.0.1:{port}/keys", "host, a path and no more"),
        ("file:///etc/passwd", "redirects to another host"),
        ("//issuer.example/keys", "redirects to another host"),
    ],
)
def test_a_redirect_elsewhere_is_not_followed(server: JwksServer, target: str, words: str) -> None:
    target = target.format(port=server.base.rpartition(":")[2])
    server.answers["/keys.json"] = (302, {"Location": target}, b"")
    with pytest.raises(ConfigurationError, match=words):
        fetch(server.url, ISSUER)
    assert server.fetches == 1


def test_redirects_are_followed_a_few_times(server: JwksServer) -> None:
    server.status, server.headers = 302, {"Location": server.url}
    with pytest.raises(ConfigurationError, match="status 302"):
        fetch(server.url, ISSUER)
    assert server.fetches == 4


def discovery(server: JwksServer, **members: Any) -> None:
    document = {"issuer": ISSUER, "jwks_uri": f"{server.base}/keys", **members}
    server.answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(document).encode())
    server.url = f"{server.base}/.well-known/openid-configuration"


def test_a_discovery_document_is_followed(server: JwksServer) -> None:
    """OpenID Connect Discovery 1.0, section 4."""
    discovery(server)
    assert len(fetch(server.url, ISSUER).usable) == 1


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"issuer": ISSUER[:-1]}, "issuer is not the one given"),
        ({"issuer": "https://login.example/{tenantid}/v2.0"}, "issuer is not the one given"),
        ({"issuer": None}, "issuer is not the one given"),
        ({"jwks_uri": "http://issuer.example/keys"}, "must be https"),
        ({"jwks_uri": ["/keys"]}, "host, a path and no more"),
        ({"jwks_uri": None}, "host, a path and no more"),
    ],
)
def test_a_discovery_document_must_fit(
    server: JwksServer, members: dict[str, Any], words: str
) -> None:
    discovery(server, **members)
    with pytest.raises(ConfigurationError, match=words):
        fetch(server.url, ISSUER)
    assert server.fetches == 1


def test_a_discovery_document_does_not_lead_to_another(server: JwksServer) -> None:
    discovery(server)
    discovery(server, jwks_uri=server.url)
    with pytest.raises(ConfigurationError, match="A JWK Set is an object"):
        fetch(server.url, ISSUER)
    assert server.fetches == 2


def test_an_answer_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for all of it: each byte may come in time, and yet too late."""
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening, JwksServer(KEY) as server:
        server.go_on.clear()
        with pytest.raises(ConfigurationError, match="cannot be fetched"):
            fetch(server.url, ISSUER)
        with pytest.raises(ConfigurationError, match="cannot be fetched"):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/", ISSUER)


def test_an_issuer_that_is_away_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConfigurationError, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{port}/", ISSUER)


def test_a_name_without_an_address_cannot_be_reached() -> None:
    with pytest.raises(ConfigurationError, match="cannot be fetched"):
        fetch("https://xn--a.example/", ISSUER)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([], "it is empty"),
        ([{**KEY, "use": "enc"}, 7], "'key' has a `use` other than sig; .* is not an object"),
    ],
)
def test_a_source_without_a_key_that_can_be_used(keys: list[Any], words: str) -> None:
    """It cannot be registered; each key's reason is told."""
    with pytest.raises(ConfigurationError, match=words):
        KeySource(jwks={"keys": keys}).check(ISSUER)


def test_a_source_shows_where_keys_are_from_and_nothing_secret() -> None:
    sources = KeySource("https://a/"), KeySource(jwks={}), KeySource(shared_secret=SECRET)
    assert [str(source) for source in sources] == ["https://a/", "JWK Set", "shared secret"]
    assert repr(SECRET)[1:] not in repr(sources)
    assert "shared_secret" not in repr(sources)


def test_a_certificate_must_be_one_that_this_machine_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with JwksServer(KEY, tls=tls) as server:
        with pytest.raises(ConfigurationError, match="cannot be fetched"):
            fetch(server.url, ISSUER)
        assert server.fetches == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert len(fetch(server.url, ISSUER).usable) == 1


def self_signed(folder: Path) -> Path:
    private = signer("ES256", "tls").private
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(private, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(key + certificate.public_bytes(Encoding.PEM))
    return path
