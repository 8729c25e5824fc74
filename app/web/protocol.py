"""HTTP as it comes over the wire: bounded before the application hears of it."""

import asyncio
import select
import time
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.telemetry.trace import CALLER_IS_GONE

# How long a caller may take to send the head of a request, in seconds, and its size in bytes.
HEAD_SECONDS = 10.0
MOST_HEAD_BYTES = 64 * 1024
# The size of a body as it is sent: chunked, each byte of it may take six.
MOST_BODY_BYTES = 128 * 1024
# Requests that may wait for the answers to earlier ones of their connection.
MOST_WAITING = 16
# What a caller may go on to send once it was refused, so that it gets to read why.
MOST_IGNORED_BYTES = 8 * 1024 * 1024
# How long a caller may take to read what it was answered, in seconds, and how long one that still
# sends is borne so that it can.
READ_SECONDS = 20.0
LINGER_SECONDS = 2.0
# A caller that has sent all may close its half and read on, though few do. One who has done so and
# whose request has not begun after this time, in seconds, is taken for gone: only a busy service
# takes longer, and then it has those to serve who are there.
HALF_CLOSED_SECONDS = 0.05


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 for hostile callers; uvicorn waits for ever for those who send or read nothing.

    What is no HTTP it hands to the application all the same, as `refused` in the scope, so that
    such a request is answered, counted and logged as all others are.
    """

    _in_head = True
    _size = 0
    _is_deaf = False
    _has_ended = False
    _hurry: asyncio.TimerHandle | None = None
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: who connects has something to say."""
        super().connection_made(transport)
        self._door = _Door(transport, self)
        self.transport = self._door  # type: ignore[assignment]
        self._start_clock()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head or body that has not ended yet, and read it."""
        if self._is_deaf:
            self._size += len(data)
            if self._size > MOST_IGNORED_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        if self._in_head and self._hurry is None:
            self._start_clock()
        self._size += len(data)
        try:
            self._read(data)
        except httptools.HttpParserError:
            self._refuse("The request is no HTTP/1.1, or its head is larger than 64 KiB.")
        else:
            if self._size > (MOST_HEAD_BYTES if self._in_head else MOST_BODY_BYTES):
                self._refuse("The request is larger than any that the contract allows.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; uvicorn takes those after the body for such, too."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock: from here on the application counts."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        is_too_much = size > MOST_HEAD_BYTES or len(self.pipeline) >= MOST_WAITING
        is_ours = self.parser.get_http_version() in ("1.0", "1.1")
        if is_too_much or not is_ours or self.parser.get_method() == b"CONNECT":
            raise ValueError
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        gone = partial(self._door.caller_is_gone, time.monotonic())
        self.scope["state"][CALLER_IS_GONE] = gone
        self._in_head = False
        self._size = 0
        self._stop_clock()

    def on_message_complete(self) -> None:
        """Expect the next request."""
        if not self._in_head:
            super().on_message_complete()
            self._in_head = True
            self._size = 0

    def on_response_complete(self) -> None:
        """Go on only with a caller whose request was heard to its end."""
        super().on_response_complete()
        if not self._in_head and not self._is_owed():
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a caller that has sent all and closed its half; end the connection otherwise."""
        self._has_ended = True
        if self._is_owed() and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks, and leave nothing to the collector: it holds up the whole process."""
        self._stop_clock()
        self._stop_watch()
        super().connection_lost(exc)
        self._door.let_go()

    def pause_writing(self) -> None:
        """Watch a caller that does not read as fast as it is answered."""
        super().pause_writing()
        self._start_watch(READ_SECONDS)

    def resume_writing(self) -> None:
        """Watch it no more."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_watch()

    def close(self, transport: asyncio.Transport) -> None:
        """End the connection once its answers are sent.

        While the caller still sends, only our half is closed: else it would never read its answer
        (RFC 9112, section 9.6).
        """
        if (self._in_head and not self._is_deaf) or self._has_ended:
            transport.close()
            self._start_watch(READ_SECONDS)
        else:
            self._is_deaf = True
            self.flow.resume_reading()
            has_all = transport.get_write_buffer_size() == 0
            transport.write_eof()
            self._start_watch(LINGER_SECONDS if has_all else READ_SECONDS)

    def _read(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # An offer of another protocol may be passed over (RFC 9110, section 7.8); Java's
                # client makes one with each request. The parser stops there, and skips the body.
                data = self._without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _refuse(self, words: str) -> None:
        """Answer what is no request, after all that is owed for earlier ones; hear no more."""
        self._is_deaf = True
        self._stop_clock()
        if self._is_owed():
            self.cycle.keep_alive = False
            if self.cycle.more_body:
                self.cycle.scope["refused"] = words  # type: ignore[typeddict-unknown-key]
                self.cycle.more_body = False
                self.cycle.message_event.set()
            return
        self.on_message_begin()
        nothing = {"method": "", "path": "", "raw_path": b"", "query_string": b""}
        self.scope.update({**nothing, "refused": words})  # type: ignore[typeddict-item]
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self.cycle.more_body = False
        self._start_asgi_task(self.cycle, self.app)

    def _is_owed(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_clock(self) -> None:
        self._hurry = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self._is_owed():
            self._is_deaf = True
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def _stop_clock(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None

    def _start_watch(self, seconds: float) -> None:
        self._stop_watch()
        self._watch = self.loop.call_later(seconds, self.transport.abort)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


class _Door:
    """A transport whose end the protocol decides on.

    Args:
        transport: the connection's.
        protocol: how it is closed.
    """

    def __init__(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self._transport = transport
        self._protocol: BoundedProtocol | None = protocol
        self._is_closing = False
        self._hang_up = select.poll()
        self._hang_up.register(transport.get_extra_info("socket"), select.POLLRDHUP)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        if self._protocol is not None and not self.is_closing():
            self._is_closing = True
            self._protocol.close(self._transport)

    def let_go(self) -> None:
        """Forget the protocol, which knows its door, now that the connection is no more."""
        self._is_closing = True
        self._protocol = None

    def caller_is_gone(self, heard_at: float) -> bool:
        """Ask the system, as any thread may: the loop has hung-up callers in its queue as well.

        Args:
            heard_at: when the request was heard, by the monotonic clock.
        """
        has_waited = time.monotonic() - heard_at > HALF_CLOSED_SECONDS
        return self.is_closing() or (has_waited and bool(self._hang_up.poll(0)))
