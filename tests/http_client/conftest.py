"""A client and servers of raw bytes, which end with the test."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.certificates import Authority
from support.raw_server import Server, Talk

from app.http_client import HttpClient

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

Serve = Callable[..., Server]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def client() -> Iterator[HttpClient]:
    """Yield a client that keeps two connections."""
    client = HttpClient(2)
    yield client
    client.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Yield a function that starts a server."""
    running: list[Server] = []

    def start(talk: Talk, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Server:
        running.append(Server(talk, tls, host))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return a certificate authority that clients trust, and no other."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority
