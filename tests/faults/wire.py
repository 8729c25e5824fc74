"""HTTP/1.1 over raw sockets, so that a server can misbehave in the ways that networks do."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

# Longest that anything here waits for a test that forgot to let go, in seconds.
PATIENCE = 120.0
# Between two bytes of an answer that trickles, in seconds.
TRICKLE = 0.05


@dataclass(frozen=True)
class Request:
    """What a client sent, the body as form fields."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def head(self, length: int | None = None) -> bytes:
        """Return the status line and the headers; `length` may lie about the body."""
        lines = [f"HTTP/1.1 {self.status} Told", f"Content-Type: {self.content_type}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body) if length is None else length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Reset(Exception):
    """Raised by a handler to cut the connection with a RST."""


class Connection:
    """One client's connection; sends whole answers, and others."""

    def __init__(self, sock: socket.socket, gate: "Gate") -> None:
        self._sock = sock
        self._gate = gate
        self._read = b""

    def request(self) -> Request | None:
        """Read one request; None at the end of the connection."""
        while b"\r\n\r\n" not in self._read:
            piece = self._sock.recv(65536)
            if not piece:
                return None
            self._read += piece
        head, _, rest = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        while len(rest) < length:
            piece = self._sock.recv(65536)
            if not piece:
                return None
            rest += piece
        self._read = rest[length:]
        parts = urlsplit(target)
        return Request(
            method,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers,
            dict(parse_qsl(rest[:length].decode(), keep_blank_values=True)),
        )

    def send(self, answer: Answer) -> None:
        """Send a whole answer."""
        self._sock.sendall(answer.head() + answer.body)

    def cut(self, answer: Answer) -> None:
        """Send half of the body that was announced, and end."""
        self._sock.sendall(answer.head() + answer.body[: len(answer.body) // 2])

    def trickle(self, answer: Answer, *, head: bool) -> None:
        """Send byte by byte, without end: the headers, or white space after the body."""
        if head:
            self._sock.sendall(b"HTTP/1.1 200 Told\r\nX-Slow: ")
        else:
            self._sock.sendall(answer.head(length=1_000_000) + answer.body)
        while not self._gate.is_open(within=TRICKLE):
            self._sock.sendall(b" ")

    def reset(self) -> None:
        """End with a RST instead of a FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Gate:
    """What hangs waits here until a test lets go."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def is_open(self, within: float = PATIENCE) -> bool:
        """Wait until the test lets go, or for `within` seconds."""
        return self._event.wait(within)

    def open(self) -> None:
        """Release all that hangs now; later calls wait for the next time."""
        self._event.set()
        self._event = threading.Event()

    def pass_through(self) -> None:
        """Wait until the test lets go."""
        self._event.wait(PATIENCE)


class Wire:
    """A server on loopback with a thread for each connection.

    Args:
        serve: answers one request on its connection; raises `Reset` to cut it.
    """

    def __init__(self, serve: Callable[[Request, Connection], bool]) -> None:
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self.gate = Gate()
        self._listen(0)
        self.url = f"http://127.0.0.1:{self._port}"

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._port: int = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=self._run, args=(target, *args), daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        try:
            target(*args)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Take no connections inside the block, and end those that there are."""
        self._close()
        try:
            yield
        finally:
            self._listen(self._port)

    def stop(self) -> None:
        """End all connections and threads."""
        self._close()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(PATIENCE)

    def _close(self) -> None:
        # A listener that is only closed keeps its port as long as a thread waits in `accept`.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.gate.open()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(sock)
            self._start(self._talk, sock)

    def _talk(self, sock: socket.socket) -> None:
        connection = Connection(sock, self.gate)
        try:
            while request := connection.request():
                if not self._serve(request, connection):
                    break
        except Reset:
            connection.reset()
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()
