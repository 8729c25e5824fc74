"""Proxies are used as the environment names them, and learn and reveal no secret."""

import base64
import socket
import threading

import pytest
from http_client.calls import ask, failure
from http_client.conftest import Serve
from support.certificates import Authority
from support.raw_server import OK, Server, Talk, end, saying

from app.http_client import HttpClient

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n"
TARGET = "https://stripe.test:{port}/v1/customers"


def tunnel_to(server: Server) -> Talk:
    """Return what a proxy does: it connects to this server, whatever the name."""

    def talk(sock: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as onward:
            sock.sendall(ESTABLISHED)
            back = threading.Thread(target=_copy, args=(onward, sock))
            back.start()
            _copy(sock, onward)
            back.join()

    return talk


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        pass
    finally:
        end(target)


@pytest.fixture
def server(authority: Authority, serve: Serve) -> Server:
    """Return a server whose name only the proxy resolves."""
    return serve(saying(OK), authority.server("stripe.test"))


@pytest.fixture
def proxy(server: Server, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a proxy that the environment names, with a password."""
    proxy = serve(tunnel_to(server))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:MARKED@127.0.0.1:{proxy.port}")
    return proxy


def test_request_goes_through_the_proxy(server: Server, proxy: Server) -> None:
    """On one connection for all; the proxy sees the host, and the server sees no password."""
    client = HttpClient(2)
    for _ in range(2):
        with client.within(5.0):
            _, status, headers = client.request(
                "POST", TARGET.format(port=server.port), {"Authorization": "Bearer sk_MARKED"}, "a"
            )
        assert (status, dict(headers)) == (200, {"content-length": "2"})
    client.close()
    assert proxy.connections == server.connections == 1
    head = proxy.requests[0].decode()
    assert head.startswith(f"CONNECT stripe.test:{server.port} HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:MARKED').decode()}\r\n" in head
    assert "sk_MARKED" not in head
    assert all(b"proxy" not in request.lower() for request in server.requests)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_variables(
    server: Server, proxy: Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
    assert ask(HttpClient(0), TARGET.format(port=server.port)) == b"ok"
    assert proxy.connections == 1


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", ["stripe.test", "other.test, .test", "*"])
def test_hosts_without_a_proxy(
    server: Server, proxy: Server, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """The name is looked up here, and is not known here."""
    monkeypatch.setenv(variable, value)
    direct = failure(HttpClient(0), TARGET.format(port=server.port))
    assert str(direct) == "Could not resolve host: stripe.test"
    assert proxy.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("no_proxy", ["", "other.test"])
def test_this_machine_is_not_reached_by_a_proxy(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, host: str, no_proxy: str
) -> None:
    """The sandbox's stand-in, and issuers of a developer."""
    for variable in ("http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    server = serve(saying(OK))
    assert ask(HttpClient(0), f"http://{host}:{server.port}/") == b"ok"


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (
            b"HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n",
            "could not connect: the proxy answers 407",
        ),
        (
            b"HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n",
            "could not connect: the proxy answers 502",
        ),
        (b"", "timed out setting up TLS or a proxy's tunnel"),
    ],
)
def test_proxy_that_does_not_let_through(
    server: Server, serve: Serve, monkeypatch: pytest.MonkeyPatch, says: bytes, reason: str
) -> None:
    """Nothing was sent to the server, so nothing was executed."""
    proxy = serve(saying(says))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:MARKED@127.0.0.1:{proxy.port}")
    refused = failure(HttpClient(0), TARGET.format(port=server.port), 0.5)
    assert str(refused) == reason
    assert refused.was_sent is False


def test_silence_behind_the_proxy(
    authority: Authority, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's own response is not a part of the server's."""
    server = serve(lambda sock: None, authority.server("stripe.test"))
    proxy = serve(tunnel_to(server))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    silent = failure(HttpClient(0), TARGET.format(port=server.port), 0.5)
    assert str(silent) == "timed out waiting for the response"
    assert silent.was_sent is True
