"""HTTP/1.1 from the socket: bounds of size and time that hold before the application is called."""

import asyncio
import time
from functools import partial

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.telemetry.trace import CALLER_IS_GONE
from app.web.transport import GracefulTransport

# How long a caller may take to send the head of a request, in seconds, and its size in bytes.
HEAD_SECONDS = 10.0
MAX_HEAD_BYTES = 64 * 1024
# The size of a body as it is sent: in chunks of one byte, each byte takes six.
MAX_BODY_BYTES = 128 * 1024
# Requests that may wait for the responses to earlier ones of their connection.
MAX_PIPELINED = 16
# What a refused caller may go on to send while it reads why it was refused.
MAX_DISCARDED_BYTES = 8 * 1024 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 with limits; uvicorn itself waits forever for slow senders and readers.

    Input that is not HTTP is passed to the application as a request with `refused` in its scope, so
    that its response, its metrics and its log event are made where all others are.
    """

    has_ended = False
    _in_head = True
    _received_bytes = 0
    _is_discarding = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._graceful = GracefulTransport(transport, self.loop, self)
        self.transport = self._graceful  # type: ignore[assignment]
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of the current head or body, and parse them."""
        self._received_bytes += len(data)
        if self._is_discarding:
            if self._received_bytes > MAX_DISCARDED_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        if self._in_head and self._head_timer is None:
            self._start_head_timer()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse("The request is not HTTP/1.1, or its head is larger than 64 KiB.")
        else:
            if self._received_bytes > (MAX_HEAD_BYTES if self._in_head else MAX_BODY_BYTES):
                self._refuse("The request is larger than any that the contract allows.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; trailers, which uvicorn would take for fields, are ignored.

        Blanks around a value are not part of it (RFC 9110, section 5.5); the parser leaves those
        after it.
        """
        if self._in_head:
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """Start the request if its head is acceptable."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        is_too_much = size > MAX_HEAD_BYTES or len(self.pipeline) >= MAX_PIPELINED
        is_known = self.parser.get_http_version() in ("1.0", "1.1")
        if is_too_much or not is_known or self.parser.get_method() == b"CONNECT":
            raise ValueError
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        is_gone = partial(self._graceful.caller_is_gone, time.monotonic())
        self.scope["state"][CALLER_IS_GONE] = is_gone
        self._in_head = False
        self._received_bytes = 0
        self._stop_head_timer()

    def on_message_complete(self) -> None:
        """Expect the next request."""
        if not self._in_head:
            super().on_message_complete()
            self._in_head = True
            self._received_bytes = 0

    def on_response_complete(self) -> None:
        """Start the next request, unless this one was answered before its body had arrived."""
        super().on_response_complete()
        if not self._in_head and not self._is_response_pending():
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for the response if the caller has sent a whole request."""
        self.has_ended = True
        if self._is_response_pending() and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and break reference cycles: collecting them stops the whole process."""
        self._stop_head_timer()
        super().connection_lost(exc)
        self._graceful.detach()

    def pause_writing(self) -> None:
        """Bound the time of a caller that reads more slowly than it is answered."""
        super().pause_writing()
        self._graceful.start_read_timer()

    def resume_writing(self) -> None:
        """Lift that bound."""
        super().resume_writing()
        self._graceful.stop_read_timer()

    def may_still_send(self) -> bool:
        """Return whether the caller may be in the middle of a request."""
        return (not self._in_head or self._is_discarding) and not self.has_ended

    def discard_input(self) -> None:
        """Ignore all that the caller sends from here on."""
        self._is_discarding = True
        self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # An offer of another protocol may be ignored (RFC 9110, section 7.8); Java's client
                # makes one with each request. The parser stops there and would skip the body, so
                # another parser reads the same request without the offer.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _refuse(self, detail: str) -> None:
        """Answer invalid input after all pending responses; ignore the input that follows."""
        self._is_discarding = True
        self._stop_head_timer()
        if self._is_response_pending():
            self.cycle.keep_alive = False
            if self.cycle.more_body:
                self.cycle.scope["refused"] = detail  # type: ignore[typeddict-unknown-key]
                self.cycle.more_body = False
                self.cycle.message_event.set()
            return
        self.on_message_begin()
        nothing = {"method": "", "path": "", "raw_path": b"", "query_string": b""}
        self.scope.update({**nothing, "refused": detail})  # type: ignore[typeddict-item]
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

    def _is_response_pending(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._on_slow_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_slow_head(self) -> None:
        if self._is_response_pending():
            self._is_discarding = True
            self.cycle.keep_alive = False
        else:
            self.transport.close()
