"""A failure has a reason in words without secrets, and is known not to have been executed if so."""

import contextlib
import socket
import struct
from collections.abc import Iterator

import pycurl
import pytest
from http_client.calls import failure
from http_client.conftest import Serve
from support.raw_server import OK, end, saying

from app.http_client import HttpClient
from app.http_client.handle import Handle

SECRET = "MARKEDsecret"


@contextlib.contextmanager
def black_hole(*hosts: str, port: int = 0) -> Iterator[int]:
    """Yield a port at which all hosts take no connection and refuse none: their queues are full."""
    with contextlib.ExitStack() as stack:
        for host in hosts:
            listener = stack.enter_context(socket.create_server((host, port), backlog=0))
            port = listener.getsockname()[1]
            # One more than the backlog; the second waits for ever.
            for _ in range(2):
                sock = stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex((host, port))
        yield port


def test_refused(client: HttpClient) -> None:
    refused = failure(client, "http://127.0.0.1:9/")
    assert str(refused) == "could not connect: Connection refused"
    assert refused.was_sent is False


def test_no_such_host(client: HttpClient) -> None:
    """RFC 6761 reserves .invalid for names that do not exist."""
    unknown = failure(client, "http://stripe.invalid/")
    assert str(unknown) == "Could not resolve host: stripe.invalid"
    assert unknown.was_sent is False


def test_no_valid_url(client: HttpClient) -> None:
    bad = failure(client, f"http://127.0.0.1:{SECRET}/")
    assert str(bad) == "URL using bad/illegal format or missing URL"
    assert bad.was_sent is False


def test_no_time_left(client: HttpClient, serve: Serve) -> None:
    server = serve(saying(OK))
    late = failure(client, server.url, 0.0)
    assert str(late) == "timed out before it was sent"
    assert late.was_sent is False
    assert server.connections == 0


def test_no_address_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """libcurl has measured nothing yet; see test_deadline.py for a real name server."""

    class Resolving:
        def getinfo(self, _info: int) -> int:
            return 0

    handle = Handle({}, 0)
    monkeypatch.setattr(handle, "_curl", Resolving())
    reason = handle._reason(pycurl.E_OPERATION_TIMEDOUT, "", was_sent=False)
    assert reason == "timed out resolving the host name"


def test_no_connection_in_time(client: HttpClient) -> None:
    with black_hole("127.0.0.1") as port:
        stuck = failure(client, f"http://127.0.0.1:{port}/", 0.3)
    assert str(stuck) == "timed out connecting"
    assert stuck.was_sent is False


def test_no_handshake_in_time(client: HttpClient, serve: Serve) -> None:
    """The server takes the connection and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        stuck = failure(client, url, 0.3)
    assert str(stuck) == "timed out setting up TLS or a proxy's tunnel"
    assert stuck.was_sent is False


@pytest.mark.parametrize("is_first", [True, False], ids=["new connection", "kept connection"])
def test_no_response_in_time(client: HttpClient, serve: Serve, is_first: bool) -> None:
    server = serve(lambda sock: None if is_first else sock.sendall(OK))
    if not is_first:
        with client.within(5.0):
            client.request("GET", server.url, {})
        is_first = True
    silent = failure(client, server.url, 0.3)
    assert str(silent) == "timed out waiting for the response"
    assert silent.was_sent is True
    assert server.connections == 1


def test_part_of_a_response_in_time(client: HttpClient, serve: Serve) -> None:
    partial = failure(client, serve(saying(OK[:-1])).url, 0.3)
    assert str(partial) == "timed out receiving the response"
    assert partial.was_sent is True


def test_connection_that_ends(client: HttpClient, serve: Serve) -> None:
    ended = failure(client, serve(end).url)
    assert str(ended) == "Empty reply from server"
    assert ended.was_sent is True


def test_connection_that_is_reset(client: HttpClient, serve: Serve) -> None:
    def talk(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    reset = failure(client, serve(talk).url)
    assert str(reset) == "Recv failure: Connection reset by peer"
    assert reset.was_sent is True


def test_body_that_is_cut(client: HttpClient, serve: Serve) -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(OK[:-1])
        end(sock)

    cut = failure(client, serve(talk).url)
    assert str(cut) == "end of response with 1 bytes missing"
    assert cut.was_sent is True


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://user:{SECRET}@127.0.0.1:9",
        f"http://user:{SECRET}@proxy.invalid:9",
        f"http://user:{SECRET}@127.0.0.1:99999999",
        f"bogus://user:{SECRET}@127.0.0.1:9",
        f"socks5h://user:{SECRET}@127.0.0.1:9",
        f"http://user:{SECRET}",
    ],
)
def test_password_of_a_proxy_is_in_no_reason(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    failed = failure(client, f"https://stripe.test/{SECRET}")
    assert SECRET not in str(failed)
    assert failed.__cause__ is None
    assert failed.was_sent is False
