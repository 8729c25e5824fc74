"""Kept-alive connections, shared among threads, with one deadline for each exchange.

Why not `requests`: it costs four times the processor, keeps a session, hence a connection, for
each thread, and its time-outs start again with every byte, so that a body that trickles in
outlives any deadline. Parsing is httptools', as in the server.
"""

import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import httptools
from werkzeug.datastructures import Headers

CONNECT_SECONDS = 5.0
# Stripe closes idle connections; one that is younger than this is open as a rule.
IDLE_SECONDS = 30.0
MOST_BYTES = 4 * 1024 * 1024
# Python sets this aside for each thread that waits for an answer, and most are smaller.
PIECE_BYTES = 4 * 1024


class NoResponse(Exception):
    """Raised when no whole answer came: nobody knows whether the request was executed."""


class HttpClient:
    """Connections to one host, kept for the next requests to it.

    Args:
        most: how many idle ones are kept.
    """

    def __init__(self, most: int) -> None:
        self._idle: deque[tuple[socket.socket, float]] = deque(maxlen=most)
        self._deadline = threading.local()
        self._tls = ssl.create_default_context()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound the exchanges of this thread inside the block, from the first byte to the last."""
        self._deadline.at = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._deadline.at

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: str | None = None
    ) -> tuple[bytes, int, Headers]:
        """Send one request, once, and read its whole answer.

        Raises:
            NoResponse: no whole answer came within the time.
        """
        parts = urlsplit(url)
        try:
            sock = self._kept() or self._connect(parts.scheme, parts.hostname or "", parts.port)
            try:
                sock.settimeout(self._left())
                sock.sendall(_request(method, parts.netloc, parts.path, parts.query, headers, body))
                answer = self._read(sock)
            except BaseException:
                sock.close()
                raise
        except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise NoResponse(f"no answer: {type(error).__name__}") from error
        if answer.keep_alive and len(self._idle) < (self._idle.maxlen or 0):
            self._idle.append((sock, time.monotonic()))
        else:
            sock.close()
        return b"".join(answer.body), answer.status, answer.headers

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop()[0].close()

    def _kept(self) -> socket.socket | None:
        """Give the connection used last, which is the likeliest to be open still."""
        while True:
            try:
                sock, since = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < IDLE_SECONDS and not _has_ended(sock):
                return sock
            sock.close()

    def _connect(self, scheme: str, host: str, port: int | None) -> socket.socket:
        tls = scheme == "https"
        address = (host, port or (443 if tls else 80))
        sock = socket.create_connection(address, min(self._left(), CONNECT_SECONDS))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._tls.wrap_socket(sock, server_hostname=host) if tls else sock

    def _read(self, sock: socket.socket) -> "_Answer":
        size = 0
        with closing(_Answer()) as answer:
            while not answer.is_whole:
                sock.settimeout(self._left())
                piece = sock.recv(PIECE_BYTES)
                size += len(piece)
                if size > MOST_BYTES:
                    raise ConnectionError
                if piece:
                    answer.feed(piece)
                else:
                    answer.end()
        return answer

    def _left(self) -> float:
        left: float = self._deadline.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Answer:
    """An answer as it comes in; httptools calls its `on_` methods."""

    def __init__(self) -> None:
        self.status = 0
        self.headers = Headers()
        self.body: list[bytes] = []
        self.is_whole = False
        self.keep_alive = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, piece: bytes) -> None:
        self._parser.feed_data(piece)

    def end(self) -> None:
        """Take the connection's end for the answer's, where it has no other (RFC 9112, 6.3).

        Raises:
            ConnectionError: it came too early.
        """
        lengths = ("Content-Length", "Transfer-Encoding")
        if not self.status or any(name in self.headers for name in lengths):
            raise ConnectionError
        self.is_whole = True

    def close(self) -> None:
        """Let go of the parser: it knows this, so neither would go without the collector."""
        del self._parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.body.append(piece)

    def on_message_complete(self) -> None:
        self.is_whole = True
        self.keep_alive = self._parser.should_keep_alive()


def _request(
    method: str, host: str, path: str, query: str, headers: Mapping[str, str], body: str | None
) -> bytes:
    """Write a request (RFC 9112, section 3); the SDK has made the values, and none has a newline.

    Raises:
        ConnectionError: one has, after all.
    """
    content = (body or "").encode()
    target = f"{path}?{query}" if query else path
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1:
        raise ConnectionError
    return f"{head}\r\n\r\n".encode("latin-1") + content


def _has_ended(sock: socket.socket) -> bool:
    """Nothing may come on an idle connection but its end."""
    poll = select.poll()  # unlike select, it takes descriptors above 1023
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
