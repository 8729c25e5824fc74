"""Servers are known by their certificates, and what is wrong with those is said in words."""

import ssl
from pathlib import Path

import certifi
import pycurl
import pytest
from http_client.calls import ask, failure
from http_client.conftest import Serve
from support.certificates import SUBJECT_HASH, Authority
from support.raw_server import OK, saying

from app.http_client import HttpClient, ca_certificates
from app.http_client.ca_certificates import ca_options

UNKNOWN = "unable to get local issuer certificate"


@pytest.fixture
def trusting(authority: Authority) -> HttpClient:
    """Return a client that trusts the authority of the test."""
    return HttpClient(0)


def test_certificate_by_a_known_authority(
    trusting: HttpClient, authority: Authority, serve: Serve
) -> None:
    server = serve(saying(OK), authority.server("127.0.0.1"))
    assert ask(trusting, server.url) == b"ok"


def test_kept_connection(authority: Authority, serve: Serve) -> None:
    client = HttpClient(2)
    server = serve(saying(OK), authority.server("127.0.0.1"))
    assert [ask(client, server.url) for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 1
    client.close()


def test_certificate_by_an_unknown_authority(
    trusting: HttpClient, serve: Serve, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "Other")
    refused = failure(trusting, serve(saying(OK), other.server("127.0.0.1")).url)
    assert UNKNOWN in str(refused)
    assert refused.was_sent is False


def test_certificate_for_another_host(
    trusting: HttpClient, authority: Authority, serve: Serve
) -> None:
    refused = failure(trusting, serve(saying(OK), authority.server("stripe.test")).url)
    assert "127.0.0.1" in str(refused)
    assert refused.was_sent is False


def test_certificate_that_has_expired(
    trusting: HttpClient, authority: Authority, serve: Serve
) -> None:
    server = serve(saying(OK), authority.server("127.0.0.1", expired=True))
    refused = failure(trusting, server.url)
    assert "certificate has expired" in str(refused)
    assert refused.was_sent is False


@pytest.mark.parametrize(
    ("newest", "is_taken"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_version_of_tls(
    trusting: HttpClient,
    authority: Authority,
    serve: Serve,
    newest: ssl.TLSVersion,
    is_taken: bool,
) -> None:
    """Below 1.2 there is none (RFC 8996)."""
    context = authority.server("127.0.0.1")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = newest
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    server = serve(saying(OK), context)
    if is_taken:
        assert ask(trusting, server.url) == b"ok"
    else:
        refused = failure(trusting, server.url)
        assert "version" in str(refused)
        assert refused.was_sent is False


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_file_of_authorities_that_is_none(
    serve: Serve,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
) -> None:
    """Its name is in the reason."""
    file = tmp_path / "missing.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    refused = failure(HttpClient(0), serve(saying(OK), authority.server("127.0.0.1")).url)
    assert str(file) in str(refused)
    assert refused.was_sent is False


class System:
    """What a system has for certificates: a file, and a folder with hashed names."""

    def __init__(self, folder: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "certs"
        self.folder.mkdir()
        self.file = self.folder / "bundle.crt"
        self.file.write_bytes(authority.file.read_bytes())
        pair = (str(self.file), str(self.folder))
        monkeypatch.setattr(ca_certificates, "SYSTEM_CAS", (("/nonexistent", "/none"), pair))
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        ca_options.cache_clear()


@pytest.fixture
def system(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> System:
    return System(tmp_path, authority, monkeypatch)


def test_certificates_of_the_system(system: System, authority: Authority, serve: Serve) -> None:
    """From its folder where it has all, which costs a tenth of the memory for a connection."""
    server = serve(saying(OK), authority.server("127.0.0.1"))
    (system.folder / f"{SUBJECT_HASH}.0").symlink_to(system.file)
    assert ca_options("", "")[pycurl.CAINFO] is None
    assert ca_options("", "")[pycurl.CAPATH] == str(system.folder)
    assert ca_options(str(system.file), "/ignored") == ca_options("", "")
    assert ask(HttpClient(0), server.url) == b"ok"


def test_certificates_that_are_in_the_systems_file_alone(
    system: System, authority: Authority, serve: Serve, tmp_path: Path
) -> None:
    """Appended by hand, as is done in images of containers."""
    server = serve(saying(OK), authority.server("127.0.0.1"))
    (system.folder / "0a0b0c0d.0").symlink_to("/nonexistent")
    system.file.write_bytes(
        Authority(tmp_path, "Other").file.read_bytes() * 2 + system.file.read_bytes()
    )
    assert ca_options("", "")[pycurl.CAINFO] == str(system.file)
    assert ask(HttpClient(0), server.url) == b"ok"


def test_certificates_where_the_system_has_none(
    system: System, authority: Authority, serve: Serve
) -> None:
    """Certifi's are trusted, and no others."""
    system.file.unlink()
    assert ca_options("", "")[pycurl.CAINFO] == certifi.where()
    refused = failure(HttpClient(0), serve(saying(OK), authority.server("127.0.0.1")).url)
    assert UNKNOWN in str(refused)


def test_system_without_a_folder(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = (str(system.file), str(system.folder / "none"))
    monkeypatch.setattr(ca_certificates, "SYSTEM_CAS", (pair,))
    assert ca_options("", "")[pycurl.CAINFO] == str(system.file)


def test_folder_that_the_operator_names(
    system: System, authority: Authority, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file of the operator's."""
    server = serve(saying(OK), authority.server("127.0.0.1"))
    system.file.unlink()
    monkeypatch.setenv("SSL_CERT_DIR", str(system.folder))
    assert UNKNOWN in str(failure(HttpClient(0), server.url))
    (system.folder / f"{SUBJECT_HASH}.0").symlink_to(authority.file)
    assert ask(HttpClient(0), server.url) == b"ok"
