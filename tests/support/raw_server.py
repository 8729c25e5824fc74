"""A server on loopback that reads requests and sends whatever bytes a test wants."""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable

DEADLINE = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
Talk = Callable[[socket.socket], None]


class Server:
    """Answers each request by calling `talk` with its connection.

    Args:
        talk: sends the response; an OSError of its ends the connection.
        tls: to talk TLS with.
        host: the address to listen on.

    Attributes:
        url: of a resource there.
        connections: how many were accepted.
        requests: all of them, in their order.
        last: the last one of each connection.
    """

    def __init__(
        self, talk: Talk, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self._talk = talk
        self._tls = tls
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/v1/a?b=c"
        self.connections = 0
        self.requests: list[bytes] = []
        self.last: dict[socket.socket, bytes] = {}
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        """Refuse and end all connections."""
        self.refuse()
        for sock in list(self._open):
            end(sock)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()

    def wait_until_closed(self, seconds: float = DEADLINE) -> None:
        """Wait until the clients have closed all connections."""
        until = time.monotonic() + seconds
        for thread in self._threads[1:]:
            thread.join(max(until - time.monotonic(), 0))
            assert not thread.is_alive()

    def refuse(self) -> None:
        """Refuse new connections from now on."""
        end(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, raw: socket.socket) -> None:
        self._open.add(raw)
        try:
            with self._tls.wrap_socket(raw, server_side=True) if self._tls else raw as sock:
                self._open.add(sock)
                while request := read_request(sock):
                    self.requests.append(request)
                    self.last[sock] = request
                    self._talk(sock)
        except OSError:
            raw.close()


def read_request(sock: socket.socket) -> bytes:
    """Read one request, body included; empty at the end of the connection."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = sock.recv(65536)
        if not piece:
            return b""
        text += piece
    length = LENGTH.search(text)
    whole = text.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
    while len(text) < whole:
        text += sock.recv(65536) or b"\0" * whole
    return text


def end(sock: socket.socket) -> None:
    """Shut a socket down, whatever its state."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def saying(*pieces: bytes) -> Talk:
    """Return a `talk` that sends these bytes, each in a write of its own."""

    def talk(sock: socket.socket) -> None:
        for piece in pieces:
            sock.sendall(piece)

    return talk
