"""A plain TCP balancer: connections go to the servers in turn, and past those that do not listen.

It knows nothing of HTTP and repeats nothing, as the simplest of those that operators use.
"""

import contextlib
import itertools
import socket
import threading
from urllib.parse import urlsplit


class Balancer:
    """Listens on loopback.

    Args:
        urls: of the servers.

    Attributes:
        url: by which callers reach all of them.
    """

    def __init__(self, urls: list[str]) -> None:
        addresses = [(str(one.hostname), int(one.port or 0)) for one in map(urlsplit, urls)]
        self._orders = itertools.cycle(
            [addresses[number:] + addresses[:number] for number in range(len(addresses))]
        )
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(
                    target=self._connect, args=(client, next(self._orders)), daemon=True
                ).start()

    def _connect(self, client: socket.socket, addresses: list[tuple[str, int]]) -> None:
        for address in addresses:
            try:
                server = socket.create_connection(address, 5)
            except OSError:
                continue
            server.settimeout(None)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()
            server.close()
            break
        client.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes, and the end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
