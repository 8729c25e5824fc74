"""The keys that issuers publish by URL, over a real socket, with time standing still."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CapacityLimiter
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from identity.test_issuers_standin import (
    AUDIENCE,
    DEADLINE,
    ISSUER,
    Clock,
    JwksServer,
    forge,
    signer,
)
from sqlalchemy import text
from structlog.testing import capture_logs

from app.errors import ConfigurationError, StorageUnavailable
from app.identity import issuers
from app.identity.issuers import PublishedKeys, check_url, fetch
from app.identity.jwts import Key, read
from app.identity.registry import add_issuer
from app.storage.database import Database

pytestmark = pytest.mark.anyio

OLD, NEW = signer(kid="old").jwk, signer("ES256", "new").jwk


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer(OLD) as running:
        yield running


@pytest.fixture
def ticks() -> Clock:
    return Clock(0.0)


@pytest.fixture
def keys(server: JwksServer, ticks: Clock) -> PublishedKeys:
    return PublishedKeys(7, server.url, CapacityLimiter(2), ticks)


async def find_old(keys: PublishedKeys) -> Key | None:
    return await keys.find("old", "RS256")


async def find_new(keys: PublishedKeys) -> Key | None:
    return await keys.find("new", "ES256")


async def until(condition: Callable[[], object]) -> None:
    """Give way to other tasks until it is so; they are few and end soon."""
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await anyio.sleep(0.001)


async def is_asked(server: JwksServer) -> None:
    assert await anyio.to_thread.run_sync(server.asked.wait, DEADLINE)


async def test_keys_are_fetched_once_and_kept(keys: PublishedKeys, server: JwksServer) -> None:
    first = await find_old(keys)
    assert first is not None
    assert await find_old(keys) is first
    assert server.fetches == 1


async def test_requests_at_the_same_time_share_one_fetch(
    keys: PublishedKeys, server: JwksServer
) -> None:
    found = await asyncio.gather(*[find_old(keys) for _ in range(20)])
    assert all(found)
    assert server.fetches == 1


async def test_one_who_gives_up_does_not_end_the_fetch_for_others(
    keys: PublishedKeys, server: JwksServer
) -> None:
    server.go_on.clear()
    impatient = asyncio.create_task(find_old(keys))
    await is_asked(server)
    patient = asyncio.create_task(find_old(keys))
    impatient.cancel()
    server.go_on.set()
    assert await patient
    assert impatient.cancelled()
    assert server.fetches == 1


async def test_keys_are_fetched_anew_in_the_background_before_they_expire(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    await find_old(keys)
    ticks.now = 239
    await find_old(keys)
    assert server.fetches == 1
    ticks.now = 240
    server.go_on.clear()
    server.keys = [NEW]
    assert await find_old(keys), "the issuer is asked, and nobody waits for its answer"
    server.go_on.set()
    await until(lambda: server.fetches == 2 and keys._task is None)
    assert await find_old(keys) is None
    assert await find_new(keys)


async def test_a_removed_key_stops_when_the_life_of_the_cache_is_over(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    await find_old(keys)
    server.keys = [NEW]
    ticks.now = 300
    assert await find_old(keys) is None
    assert server.fetches == 2


async def test_the_life_counts_from_when_the_keys_were_asked_for(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    server.go_on.clear()
    search = asyncio.create_task(find_old(keys))
    await is_asked(server)
    ticks.now = 2
    server.go_on.set()
    assert await search
    server.keys = []
    ticks.now = 300
    assert await find_old(keys) is None


async def test_a_rotated_key_works_at_once(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    await find_old(keys)
    server.keys = [OLD, NEW]
    ticks.now = 0.1
    assert await find_new(keys)
    assert await find_old(keys)
    assert server.fetches == 2


async def test_a_key_published_while_a_fetch_is_under_way_works_at_once(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    """The answer under way may be from before: then the issuer is asked once more."""
    await find_old(keys)
    server.asked.clear()
    server.go_on.clear()
    ticks.now = 240
    await find_old(keys)
    await is_asked(server)
    server.keys = [OLD, NEW]
    ticks.now = 241
    searches = [asyncio.create_task(find_new(keys)) for _ in range(5)]
    await asyncio.sleep(0)
    server.go_on.set()
    assert all(await asyncio.gather(*searches))
    assert server.fetches == 3


async def test_a_flood_of_unknown_kids_makes_one_fetch_a_minute(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    await find_old(keys)
    ticks.now = 1
    await asyncio.gather(*[keys.find(f"unknown-{n}", "RS256") for n in range(50)])
    assert server.fetches == 2
    for second in range(2, 61):
        ticks.now = second
        assert await keys.find(f"unknown-{second}", "RS256") is None
    assert server.fetches == 2
    ticks.now = 61
    assert await keys.find("unknown", "RS256") is None
    assert server.fetches == 3


async def test_an_unknown_kid_at_the_first_fetch_makes_no_second_one(
    keys: PublishedKeys, server: JwksServer
) -> None:
    assert await find_new(keys) is None
    assert server.fetches == 1


async def test_old_keys_are_kept_while_the_issuer_is_down(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    """It is asked again each 10 seconds, and no more often."""
    await find_old(keys)
    server.status = 503
    for ticks.now in (300, 301, 309.9):
        assert await find_old(keys)
    assert server.fetches == 2
    ticks.now = 310
    assert await find_old(keys)
    assert server.fetches == 3
    server.status, server.keys = 200, [NEW]
    ticks.now = 320
    assert await find_old(keys) is None


async def test_an_issuer_that_never_answered_is_no_fault_of_the_users(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    """That is told as 503, and not as a bad JWT; soon after, the issuer is asked again."""
    server.status = 500
    for ticks.now in (0, 1, 9.9):
        with pytest.raises(StorageUnavailable) as failure:
            await find_old(keys)
        assert failure.value.retry_after == 10
        assert "issuer" in failure.value.detail
    assert server.fetches == 1
    server.status = 200
    ticks.now = 10
    assert await find_old(keys)


async def test_nobody_waits_for_long_on_an_issuer_that_hangs(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    """Here the thread itself hangs, as with a name server, and its timeout with it."""
    server.go_on.clear()
    first = asyncio.create_task(find_old(keys))
    await is_asked(server)
    ticks.now = 4.0
    with pytest.raises(StorageUnavailable):
        await find_old(keys)
    server.go_on.set()
    assert await first
    assert server.fetches == 1


BAD_SETS: list[tuple[str, bytes | None, int, str]] = [
    ("no JSON", b"<html>", 200, "is no JSON"),
    ("duplicate members", b'{"keys": [], "keys": []}', 200, "is no JSON"),
    ("nested deep", b"[" * 60_000, 200, "is no JSON"),
    ("no set", b"[]", 200, "is an object"),
    ("too large", b'{"keys": []}' + b" " * 65_536, 200, "larger than 64 KiB"),
    ("not found", None, 404, "answers with 404"),
    ("elsewhere", None, 302, "answers with 302"),
    ("empty", b"", 200, "is no JSON"),
]


@pytest.mark.parametrize(("name", "body", "status", "words"), BAD_SETS)
async def test_a_bad_answer_is_logged_and_the_old_keys_kept(
    keys: PublishedKeys,
    server: JwksServer,
    ticks: Clock,
    name: str,
    body: bytes | None,
    status: int,
    words: str,
) -> None:
    await find_old(keys)
    server.body, server.status = body, status
    server.headers = {"Location": server.url.replace("keys", "others")}
    ticks.now = 300
    with capture_logs() as events:
        assert await find_old(keys)
    assert server.fetches == 2, "a redirection is not followed"
    assert [(event["event"], event["issuer"]) for event in events] == [
        ("issuer's keys not refreshed", 7)
    ]
    assert words in events[0]["reason"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([OLD, OLD], "same kid"),
        ([NEW, signer("EdDSA", "private").private_jwk], "private or secret"),
        ([NEW, {"kty": "RSA", "n": OLD["n"][:170], "e": "AQAB"}], "less than 2048"),
    ],
)
async def test_a_set_with_bad_keys_is_logged_and_the_old_keys_kept(
    keys: PublishedKeys,
    server: JwksServer,
    ticks: Clock,
    bad: list[dict[str, Any]],
    words: str,
) -> None:
    await find_old(keys)
    server.keys = bad
    ticks.now = 300
    with capture_logs() as events:
        assert await find_old(keys)
    assert words in events[0]["reason"]
    assert bad[-1].get("d", "-") not in str(events)


async def test_an_empty_set_takes_all_keys_back(
    keys: PublishedKeys, server: JwksServer, ticks: Clock
) -> None:
    await find_old(keys)
    server.keys = []
    ticks.now = 300
    assert await find_old(keys) is None


async def test_the_log_tells_of_refreshed_keys(keys: PublishedKeys) -> None:
    with capture_logs() as events:
        await find_old(keys)
    assert events == [
        {"event": "issuer's keys refreshed", "issuer": 7, "keys": 1, "log_level": "info"}
    ]


def test_an_answer_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for the whole of it: each byte may come in time, and yet too late."""
    monkeypatch.setattr(issuers, "FETCH_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening, JwksServer(OLD) as server:
        server.go_on.clear()
        server.headers = {"X": "x"}
        with pytest.raises(ConfigurationError, match="not to be had: timed out"):
            fetch(server.url)
        with pytest.raises(ConfigurationError, match="not to be had: timed out"):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/")


def test_a_compressed_answer_is_not_unpacked() -> None:
    import gzip

    with JwksServer() as server:
        server.body = gzip.compress(b'{"keys": []}')
        server.headers = {"Content-Encoding": "gzip"}
        with pytest.raises(ConfigurationError, match="no JSON"):
            fetch(server.url)


def test_an_issuer_that_nobody_is_at_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(
        ConfigurationError, match="not to be had: could not connect: Connection refused"
    ):
        fetch(f"http://127.0.0.1:{port}/")


def test_a_name_that_is_none_cannot_be_reached() -> None:
    with pytest.raises(ConfigurationError, match="not to be had"):
        fetch("https://xn--a.example/")


def test_a_certificate_must_be_one_that_this_machine_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with JwksServer(OLD, tls=tls) as server:
        with pytest.raises(ConfigurationError, match="not to be had: SSL certificate"):
            fetch(server.url)
        assert server.fetches == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert len(fetch(server.url)) == 1


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


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/.well-known/jwks.json",
        "https://issuer.example:8443/keys?version=1",
        "https://[2001:db8::1]/keys",
        "http://localhost:8080/keys",
        "http://127.0.0.1/keys",
        "http://127.8.9.10/keys",
        "http://[::1]:1/keys",
    ],
)
def test_keys_may_come_by_https_or_from_this_machine(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://issuer.example/keys", "must be https"),
        ("http://localhost.example/keys", "must be https"),
        ("http://127.0.0.1.example/keys", "must be https"),
        ("http://10.0.0.1/keys", "must be https"),
        ("http://0.0.0.0/keys", "must be https"),
        ("ftp://localhost/keys", "must be https"),
        ("file:///etc/passwd", "host and path"),
        ("https://", "host and path"),
        ("https:///keys", "host and path"),
        ("https://user:password@issuer.example/keys", "host and path"),
        ("https://@issuer.example/keys", "host and path"),
        ("https://issuer.example:0/keys", "host and path"),
        ("https://issuer.example/keys#one", "host and path"),
        ("https://issuer.example/keys#", "host and path"),
        ("https://issuer.example:99999/keys", "is no URL"),
        ("https://issuer.example:x/keys", "is no URL"),
        ("https://[::1/keys", "is no URL"),
        ("https://issuer.example/ke ys", "is no URL"),
        ("https://issuer.example/keys\n", "is no URL"),
        ("https://bücher.example/keys", "is no URL"),
        ("https://issuer.example/" + "k" * 2000, "is no URL"),
        ("", "is no URL"),
    ],
)
def test_keys_come_from_nowhere_else(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_url(url)
    with pytest.raises(ConfigurationError, match=words):
        fetch(url)


async def test_registration_decides_where_keys_are_from(
    database: Database, server: JwksServer, ticks: Clock
) -> None:
    """A URL's keys are fetched once and outlive the row's cache; a change counts after it."""
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks_url=server.url)
    found = issuers.Issuers(database.engine, 5.0, ticks)
    token = read(forge(by=signer(kid="old")))
    for ticks.now in (0.0, 6.0):
        issuer = await found.find(ISSUER)
        assert issuer is not None
        assert await issuer.key_of(token)
    assert server.fetches == 1
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks={"keys": [NEW]})
    ticks.now = 12.0
    issuer = await found.find(ISSUER)
    assert issuer is not None
    assert await issuer.key_of(token) is None


async def test_bad_keys_in_the_database_believe_nobody(database: Database, ticks: Clock) -> None:
    """They were good enough for an older version: the log says so, and JWTs are refused."""
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks={"keys": [OLD]})
    with database.writing() as connection:
        connection.execute(text("update issuers set jwks = '{}'"))
    with capture_logs() as logged:
        issuer = await issuers.Issuers(database.engine, 5.0, ticks).find(ISSUER)
    assert issuer is not None
    assert await issuer.key_of(read(forge(by=signer(kid="old")))) is None
    assert [event["event"] for event in logged] == ["issuer's keys are bad"]
