"""A proxy in front of PostgreSQL, whose connections can be cut at a commit, or fall silent."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal


class PgProxy:
    """Listens on loopback, speaks to the server's Unix socket.

    Args:
        socket_path: of the server.

    Attributes:
        cut: ends the connection that sends the next COMMIT, `before` or `after` the server has it.
    """

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self.cut: Literal["", "before", "after"] = ""
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listen(0)

    def url(self, name: str) -> str:
        """Return the URL of a database behind the proxy."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Refuse connections inside the block, and end those that there are."""
        self._close()
        try:
            yield
        finally:
            self._listen(self._port)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Pass nothing on inside the block, and end nothing."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def stop(self) -> None:
        """End."""
        self._flowing.set()
        self._close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._port: int = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._path)
            except OSError:
                client.close()
                server.close()
                continue
            pair = _Pair(client, server)
            with self._lock:
                self._open |= {client, server}
            self._start(self._pump, pair, client, server)
            self._start(self._pump, pair, server, client)

    def _pump(self, pair: "_Pair", source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait(120)
                if source is pair.server and pair.is_to_close:
                    break
                if source is pair.client and b"COMMIT" in data:
                    with self._lock:
                        cut, self.cut = self.cut, ""
                    if cut == "before":
                        break
                    pair.is_to_close = cut == "after"
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if pair.is_last():
            with self._lock:
                self._open -= {pair.client, pair.server}
            pair.client.close()
            pair.server.close()


class _Pair:
    """Two sockets, and the two threads between them."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_to_close = False
        self._ended = 0
        self._lock = threading.Lock()

    def is_last(self) -> bool:
        """Return whether the other thread has ended too."""
        with self._lock:
            self._ended += 1
            return self._ended == 2
