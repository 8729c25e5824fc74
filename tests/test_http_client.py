"""The way to Stripe: one request is sent once, within its time, on a connection that is kept."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import http_client as connections_module
from app.http_client import HttpClient, NoResponse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
DEADLINE = 10.0


class Server:
    """Answers each request on loopback with what the test says; a plan for each connection."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1/a?b=c"
        self.connections = 0
        self.requests: list[bytes] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()

    def request(self, sock: socket.socket) -> bool:
        """Read one request; False at the end of the connection."""
        text = b""
        while b"\r\n\r\n" not in text:
            try:
                piece = sock.recv(65536)
            except OSError:
                return False
            if not piece:
                return False
            text += piece
        self.requests.append(text)
        return True

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            while self.request(sock):
                try:
                    self._talk(sock)
                except OSError:
                    return


Serve = Callable[[Callable[[socket.socket], None]], Server]


@pytest.fixture
def kept() -> Iterator[HttpClient]:
    pool = HttpClient(2)
    yield pool
    pool.close()


@pytest.fixture
def serve(kept: HttpClient) -> Iterator[Serve]:
    running: list[Server] = []

    def start(talk: Callable[[socket.socket], None]) -> Server:
        running.append(Server(talk))
        return running[-1]

    yield start
    kept.close()
    for server in running:
        server.stop()


def ask(pool: HttpClient, server: Server, body: str | None = None, seconds: float = 5.0) -> bytes:
    """Send one request and give the body of its answer."""
    with pool.within(seconds):
        return pool.request("POST", server.url, {"X-Name": "value"}, body)[0]


def saying(*pieces: bytes) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        for piece in pieces:
            sock.sendall(piece)

    return talk


def test_request_as_it_is_sent(kept: HttpClient, serve: Serve) -> None:
    server = serve(saying(OK))
    with kept.within(5.0):
        body, status, headers = kept.request("POST", server.url, {"X-Name": "value"}, "a=\u00fc")
    assert (body, status, headers["content-length"]) == (b"ok", 200, "2")
    host = server.url.split("/")[2]
    lines = ["POST /v1/a?b=c HTTP/1.1", f"Host: {host}", "Content-Length: 4", "X-Name: value"]
    assert server.requests[0].startswith("\r\n".join([*lines, "", ""]).encode())


def test_header_with_a_newline_is_not_sent(kept: HttpClient, serve: Serve) -> None:
    """It would be another header, or another request."""
    server = serve(saying(OK))
    with kept.within(5.0), pytest.raises(NoResponse):
        kept.request("GET", server.url, {"X-Name": "a\r\nX-Other: b"}, None)
    assert server.requests == []


def test_connection_serves_one_request_after_another(kept: HttpClient, serve: Serve) -> None:
    server = serve(saying(OK))
    for _ in range(5):
        assert ask(kept, server) == b"ok"
    assert server.connections == 1


def test_threads_share_connections_and_keep_no_more_than_they_may(
    kept: HttpClient, serve: Serve
) -> None:
    together = threading.Barrier(4, timeout=DEADLINE)

    def talk(sock: socket.socket) -> None:
        if not together.broken and server.connections <= 4 and len(server.requests) <= 4:
            together.wait()
        sock.sendall(OK)

    server = serve(talk)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: ask(kept, server), range(4))) == [b"ok"] * 4
    assert server.connections == 4
    assert len(kept._idle) == 2
    assert ask(kept, server) == b"ok"
    assert server.connections == 4


def test_connection_that_ended_meanwhile_is_not_used(kept: HttpClient, serve: Serve) -> None:
    """The request goes out once, on a new one."""
    over = threading.Event()

    def talk(sock: socket.socket) -> None:
        sock.sendall(OK)
        sock.shutdown(socket.SHUT_RDWR)
        over.set()

    server = serve(talk)
    ask(kept, server)
    assert over.wait(DEADLINE)
    ask(kept, server)
    assert server.connections == len(server.requests) == 2


def test_connection_that_rested_for_long_is_not_used(
    kept: HttpClient, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe may be about to end it."""
    server = serve(saying(OK))
    ask(kept, server)
    monkeypatch.setattr(connections_module, "IDLE_SECONDS", 0.0)
    ask(kept, server)
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", id="cut body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsh", id="cut chunk"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="cut head"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="not HTTP"),
    ],
)
def test_half_an_answer_is_none(kept: HttpClient, serve: Serve, answer: bytes) -> None:
    """Sent once: nobody knows whether it was executed."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_RDWR)

    server = serve(talk)
    with pytest.raises(NoResponse):
        ask(kept, server)
    assert len(server.requests) == 1
    assert not kept._idle


def test_answer_without_a_length_ends_with_its_connection(kept: HttpClient, serve: Serve) -> None:
    """RFC 9112, section 6.3, rule 8."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nall ")
        sock.sendall(b"of it")
        sock.shutdown(socket.SHUT_RDWR)

    assert ask(kept, serve(talk)) == b"all of it"
    assert not kept._idle


def test_another_protocol_is_no_answer(kept: HttpClient, serve: Serve) -> None:
    """Nobody asked for one; who knows what it did with the request."""
    answer = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    server = serve(lambda sock: sock.sendall(answer))
    with kept.within(DEADLINE), pytest.raises(NoResponse):
        kept.request("POST", server.url, {})


def test_chunked_answer_comes_whole(kept: HttpClient, serve: Serve) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    server = serve(saying(*[answer[i : i + 1] for i in range(len(answer))]))
    assert ask(kept, server) == b"abc"
    assert len(kept._idle) == 1


def test_answer_without_end_is_cut_off(
    kept: HttpClient, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "MOST_BYTES", 100_000)

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    with pytest.raises(NoResponse):
        ask(kept, serve(talk))


@pytest.mark.measures
@pytest.mark.parametrize("interval", [0.02, 60.0], ids=["drips", "hangs"])
def test_time_counts_from_the_first_byte_to_the_last(
    kept: HttpClient, serve: Serve, interval: float
) -> None:
    """Whether nothing comes or a byte every now and then."""
    over = threading.Event()

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not over.wait(interval):
            sock.sendall(b"x")

    server = serve(talk)
    began = time.monotonic()
    with pytest.raises(NoResponse, match="TimeoutError"):
        ask(kept, server, seconds=0.3)
    assert time.monotonic() - began < 1.0
    over.set()


def test_time_that_is_over_sends_nothing(kept: HttpClient, serve: Serve) -> None:
    server = serve(saying(OK))
    with pytest.raises(NoResponse):
        ask(kept, server, seconds=0.0)
    assert server.connections == 0


def test_nobody_there(kept: HttpClient) -> None:
    with kept.within(5.0), pytest.raises(NoResponse, match="ConnectionRefusedError"):
        kept.request("GET", "http://127.0.0.1:9/", {}, None)
