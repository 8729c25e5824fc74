"""How a connection ends: the caller gets the time to read its response, and no more than that."""

import asyncio
import select
import time
from typing import Any, Protocol

# How long a caller may take to read its response, in seconds: 128 KiB at the speed of a modem.
READ_SECONDS = 20.0
# How long the input of a caller that was refused and still sends is discarded, in seconds, so that
# it reads the response before the connection is reset.
LINGER_SECONDS = 2.0
# A caller may close its half of the connection once it has sent all, and read on; few do. If the
# work for its request has not begun after this time, in seconds, it is taken to have hung up: only
# a busy service takes longer, and that has callers to serve who are still there.
HALF_CLOSED_SECONDS = 0.05
# Linux reports by `poll` that the peer has closed its half; other systems do not.
PEER_CLOSED: int | None = getattr(select, "POLLRDHUP", None)


class Reader(Protocol):
    """The protocol that reads from the connection."""

    has_ended: bool

    def may_still_send(self) -> bool:
        """Return whether the caller may be in the middle of a request."""

    def discard_input(self) -> None:
        """Ignore all that the caller sends from here on."""


class GracefulTransport:
    """A transport that closes as RFC 9112, section 9.6, says.

    Args:
        transport: the connection's own.
        loop: where its timer runs.
        reader: what reads from the connection.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, reader: Reader
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._reader: Reader | None = reader
        self._is_closing = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._poll = None
        if PEER_CLOSED is not None:
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket"), PEER_CLOSED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether no more responses are sent."""
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        """End the connection once its responses are sent.

        While the caller still sends, only this side is closed: if both were, the system would reset
        the connection, and the caller would never read the response.
        """
        if self._reader is None or self.is_closing():
            return
        self._is_closing = True
        if not self._reader.may_still_send():
            self._transport.close()
            self.start_read_timer()
            return
        self._reader.discard_input()
        is_all_sent = self._transport.get_write_buffer_size() == 0
        self._transport.write_eof()
        self._start_timer(LINGER_SECONDS if is_all_sent else READ_SECONDS)

    def start_read_timer(self) -> None:
        """Abort the connection unless the caller reads what is buffered for it in time."""
        self._start_timer(READ_SECONDS)

    def stop_read_timer(self) -> None:
        """Let an open connection live on; a closing one is still aborted in time."""
        if not self.is_closing():
            self._stop_timer()

    def detach(self) -> None:
        """Forget the reader of a lost connection: the two would be a reference cycle."""
        self._is_closing = True
        self._reader = None
        self._stop_timer()

    def caller_is_gone(self, received_at: float) -> bool:
        """Return whether the caller of a request has hung up; safe to call from any thread.

        The operating system is asked, because on a busy day the news of the closed connection is
        still in the event loop's queue. Where it cannot be asked, what the loop knows has to do.

        Args:
            received_at: when the request was received, by the monotonic clock.
        """
        if self.is_closing() or self._reader is None:
            return True
        if time.monotonic() - received_at <= HALF_CLOSED_SECONDS:
            return False
        return self._reader.has_ended if self._poll is None else bool(self._poll.poll(0))

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._abort_timer = self._loop.call_later(seconds, self._transport.abort)

    def _stop_timer(self) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
