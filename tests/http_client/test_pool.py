"""Connections are kept for the next requests, and for no longer than they may be."""

import contextlib
import gc
import os
import resource
import socket
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from http_client.calls import ask, failure
from http_client.conftest import Serve
from support.raw_server import DEADLINE, OK, end, saying

from app.http_client import HttpClient
from app.http_client.pool import IDLE_SECONDS


def close_wait(port: int) -> int:
    """Return how many connections to a port wait for this machine's programs to close them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    states = [line.split()[2:4] for line in lines]
    return sum(remote.endswith(f":{port:04X}") and state == "08" for remote, state in states)


def test_connection_serves_one_request_after_another(client: HttpClient, serve: Serve) -> None:
    server = serve(saying(OK))
    for _ in range(5):
        assert ask(client, server.url) == b"ok"
    assert server.connections == 1


def test_threads_share_connections_and_keep_no_more_than_they_may(
    client: HttpClient, serve: Serve
) -> None:
    together = threading.Barrier(4, timeout=DEADLINE)

    def talk(sock: socket.socket) -> None:
        if len(server.requests) <= 4:
            together.wait()
        sock.sendall(OK)

    server = serve(talk)
    for _ in range(2):
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(lambda _: ask(client, server.url), range(4))) == [b"ok"] * 4
        assert len(client._idle) == 2
    ask(client, server.url)
    assert len(client._idle) == 2


def test_connection_that_ended_meanwhile_is_not_used(client: HttpClient, serve: Serve) -> None:
    """The request goes out once, on a new one."""
    over = threading.Event()

    def talk(sock: socket.socket) -> None:
        sock.sendall(OK)
        sock.shutdown(socket.SHUT_RDWR)
        over.set()

    server = serve(talk)
    ask(client, server.url)
    assert over.wait(DEADLINE)
    ask(client, server.url)
    assert server.connections == len(server.requests) == 2


def test_connection_that_closes_on_a_request_gets_it_again_elsewhere(
    client: HttpClient, serve: Serve
) -> None:
    """Once: it is the race with a server that closes idle connections."""

    def talk(sock: socket.socket) -> None:
        if len(server.requests) == 2:
            end(sock)
        else:
            sock.sendall(OK)

    server = serve(talk)
    ask(client, server.url)
    assert ask(client, server.url) == b"ok"
    assert (server.connections, len(server.requests)) == (2, 3)


def test_every_kept_connection_may_close_on_a_request(client: HttpClient, serve: Serve) -> None:
    """Also more often than libcurl repeats one request (curl/curl#19066)."""
    seen: set[socket.socket] = set()

    def talk(sock: socket.socket) -> None:
        if sock in seen:
            end(sock)
        else:
            seen.add(sock)
            sock.sendall(OK)

    server = serve(talk)
    assert [ask(client, server.url) for _ in range(20)] == [b"ok"] * 20
    assert (server.connections, len(server.requests)) == (20, 39)


def test_request_that_gets_no_response_is_sent_twice_at_most(
    client: HttpClient, serve: Serve
) -> None:
    server = serve(lambda sock: sock.sendall(OK) if len(server.requests) == 1 else end(sock))
    ask(client, server.url)
    assert failure(client, server.url).was_sent is True
    assert (server.connections, len(server.requests)) == (2, 3)


def test_request_that_was_sent_before_a_refusal_counts_as_sent(
    client: HttpClient, serve: Serve
) -> None:
    """The kept connection took the request and closed; the new one is refused."""

    def talk(sock: socket.socket) -> None:
        if len(server.requests) == 1:
            sock.sendall(OK)
        else:
            server.refuse()
            end(sock)

    server = serve(talk)
    ask(client, server.url)
    refused = failure(client, server.url)
    assert "refused" in str(refused)
    assert refused.was_sent is True
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("number", "idle_seconds", "quiet"),
    [
        pytest.param(20, 0.2, DEADLINE, id="few"),
        pytest.param(300, IDLE_SECONDS, 30.0, id="as in production", marks=pytest.mark.long),
    ],
)
def test_no_connection_of_a_burst_lingers(
    serve: Serve, number: int, idle_seconds: float, quiet: float
) -> None:
    """The server closes them, no request follows, and none stays in CLOSE_WAIT."""
    together = threading.Barrier(number, timeout=DEADLINE)

    def talk(sock: socket.socket) -> None:
        together.wait()
        sock.sendall(OK)
        sock.shutdown(socket.SHUT_WR)

    server = serve(talk)
    client = HttpClient(1000, idle_seconds=idle_seconds)
    with ThreadPoolExecutor(number) as threads:
        list(threads.map(lambda _: ask(client, server.url), range(number)))
    assert close_wait(server.port) > 0
    server.wait_until_closed(quiet)
    assert close_wait(server.port) == 0
    assert not client._idle
    client.close()


def test_connections_in_use_outlive_the_idle_time(serve: Serve) -> None:
    """Only those that rest are closed, each in its time."""
    server = serve(saying(OK))
    client = HttpClient(10, idle_seconds=0.5)
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        ask(client, server.url)
        time.sleep(0.05)
    assert server.connections == 1
    server.wait_until_closed()
    ask(client, server.url)
    assert server.connections == 2
    server.wait_until_closed()
    client.close()


def test_closed_client_keeps_no_connection_and_no_thread(serve: Serve) -> None:
    """Not even those of exchanges that were under way."""
    server = serve(saying(OK))
    client = HttpClient(10)
    before = threading.active_count()
    with client.within(5.0):
        client.request("GET", server.url, {})
        ask_elsewhere = threading.Thread(target=ask, args=(client, server.url))
        ask_elsewhere.start()
        ask_elsewhere.join(DEADLINE)
        client.close()
    server.wait_until_closed()
    assert server.connections == 2
    assert threading.active_count() <= before + 2
    client.close()
    # A timer that fired just before finds nothing, and starts no other.
    client._close_old()
    assert client._timer is None


def test_connection_is_kept_where_no_thread_can_be_started(
    client: HttpClient, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response is there; closing the connection in time is not worth an error."""

    def start(_timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    server = serve(saying(OK))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Timer, "start", start)
        assert ask(client, server.url) == b"ok"
    assert client._timer is None
    ask(client, server.url)
    assert client._timer is not None
    assert server.connections == 1


def test_discarded_connection_is_not_used_again(client: HttpClient, serve: Serve) -> None:
    """Neither in the same block nor by another thread, however soon."""
    server = serve(saying(OK))
    with client.within(5.0):
        client.discard()
        client.request("GET", server.url, {})
        client.discard()
        client.request("GET", server.url, {})
        client.discard()
        client.discard()
    server.wait_until_closed()
    ask(client, server.url)
    assert server.connections == 3


def test_connection_is_nobody_elses_before_the_block_ends(client: HttpClient, serve: Serve) -> None:
    """Until then its response may turn out to be another's."""
    server = serve(saying(OK))
    with client.within(5.0):
        client.request("GET", server.url, {})
        with ThreadPoolExecutor(1) as thread:
            thread.submit(ask, client, server.url).result(DEADLINE)
        assert server.connections == 2
        client.request("GET", server.url, {})
    assert server.connections == 2


def test_error_of_the_caller_leaves_the_connection(client: HttpClient, serve: Serve) -> None:
    """A declined card is an error, and its response was whole."""
    server = serve(saying(OK))

    def declined() -> None:
        with client.within(5.0):
            client.request("GET", server.url, {})
            raise KeyError

    with pytest.raises(KeyError):
        declined()
    ask(client, server.url)
    assert server.connections == 1


def test_descriptors_above_1023(serve: Serve) -> None:
    """More than `select` takes: many connections in flight, files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip("the limit of open files is below 2048")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    server = serve(saying(OK))
    client = HttpClient(2)
    with contextlib.ExitStack() as files:
        while files.enter_context(open(os.devnull)).fileno() < 1100:
            pass
        assert [ask(client, server.url) for _ in range(2)] == [b"ok"] * 2
    client.close()
    assert server.connections == 1


def test_exchange_leaves_nothing_to_the_garbage_collector(serve: Serve) -> None:
    """Neither a closed client's handles nor the error of a failure."""
    server = serve(saying(OK))
    gc.collect()
    gc.disable()
    try:
        client = HttpClient(2)
        ask(client, server.url)
        server.refuse()
        client.close()
        handles = [weakref.ref(client)]
        del client
        assert handles[0]() is None
        assert gc.collect() == 0
    finally:
        gc.enable()
