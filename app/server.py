"""How uvicorn serves: with bounds on what a caller may send before the application hears of it."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.config import Settings

# How long a caller may take to send the head of a request, in seconds, and its size in bytes.
HEAD_SECONDS = 10.0
MOST_HEAD_BYTES = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 that cuts off callers who never come to an end; uvicorn waits for them for ever."""

    _in_head = True
    _head_bytes = 0
    _hurry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: who connects has something to say."""
        super().connection_made(transport)
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that has not ended yet."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.close()
                return
            if self._hurry is None:
                self._start_clock()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Stop the clock: from here on the application counts."""
        self._in_head = False
        self._stop_clock()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next request."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        self._hurry = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_clock(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None


def options(settings: Settings) -> dict[str, Any]:
    """Give uvicorn's options, the same wherever the service runs.

    Args:
        settings: tell how long accepted requests may take to end.
    """
    return {
        "http": BoundedProtocol,
        # A contract that is broken must stop the start, not answer 500 to everything.
        "lifespan": "on",
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        # `app.edge` believes proxies, by address.
        "proxy_headers": False,
        "timeout_graceful_shutdown": int(settings.request_timeout) + 5,
        # Callers who come at once wait here rather than being turned away.
        "backlog": 4096,
    }
