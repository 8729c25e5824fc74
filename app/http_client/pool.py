"""A pool of connections, and one deadline for each exchange.

libcurl does what is easily done wrong by hand: interim responses (RFC 9110, section 15.2), several
addresses for a host (RFC 8305), proxies, TLS.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress

import pycurl

from app.http_client.ca_certificates import ca_options
from app.http_client.errors import NoResponse
from app.http_client.fields import Fields
from app.http_client.handle import Handle

# Servers close idle connections after a minute or so. One that is younger than this is open as a
# rule, and after half a minute without requests none is left.
IDLE_SECONDS = 20.0
# More than a page of 100 customers has, in bytes.
LARGEST_BODY = 4 * 1024 * 1024
# Plain HTTP is for this machine only, and a proxy elsewhere does not reach it.
NEVER_PROXIED = "localhost,127.0.0.0/8,::1"


class HttpClient:
    """Sends requests from any number of threads, over connections that are kept.

    Proxies are read from `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; CA certificates from
    `SSL_CERT_FILE` or `SSL_CERT_DIR`, else from the system, else from certifi.

    Args:
        most_idle: how many idle connections are kept.
        idle_seconds: after which an idle connection is closed.
        largest_body: a response with a longer body is not taken, in bytes.
        gzip: whether to ask for compressed bodies.
    """

    def __init__(
        self,
        most_idle: int,
        *,
        idle_seconds: float = IDLE_SECONDS,
        largest_body: int = LARGEST_BODY,
        gzip: bool = False,
    ) -> None:
        self._most_idle = most_idle
        self._idle_seconds = idle_seconds
        self._largest_body = largest_body
        self._options: dict[int, int | str | None] = {
            **ca_options(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")),
            pycurl.NOPROXY: _not_proxied(os.environ.get("no_proxy") or os.environ.get("NO_PROXY")),
        }
        if gzip:
            self._options[pycurl.ACCEPT_ENCODING] = "gzip"
        self._here = threading.local()
        # The handle that was used last is on the right, and is used next.
        self._idle: deque[Handle] = deque()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Set the deadline of this thread's exchanges inside the block, from resolving to the end.

        The connection is kept at the end of the block and not before, so that no other exchange
        uses it until the caller has looked at the response; see `discard`.
        """
        return _Scope(self._here, time.monotonic() + seconds, self._keep)

    def discard(self) -> None:
        """Close the connection of this thread's last exchange instead of keeping it."""
        scope: _Scope = self._here.scope
        if scope.handle is not None:
            scope.handle.close()
            scope.handle = None

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: str | None = None
    ) -> tuple[bytes, int, Fields]:
        """Send one request and return its final response; only inside `within`.

        A kept connection may close just when the request is sent. If nothing at all came back on
        it, libcurl sends the request again on a new one, once. So a caller's requests must be
        idempotent, by method or by a key (RFC 9110, section 9.2.2).

        Raises:
            NoResponse: no complete response arrived in time.
        """
        scope: _Scope = self._here.scope
        left = scope.deadline - time.monotonic()
        if left <= 0:
            raise NoResponse("timed out before it was sent", was_sent=False)
        handle = self._take(scope)
        try:
            response = handle.exchange(method, url, headers, body, left)
        except BaseException:
            handle.close()
            raise
        scope.handle = handle
        return response

    def close(self) -> None:
        """Close the idle connections, and keep none from now on."""
        with self._lock:
            self._most_idle = 0
            idle, self._idle = self._idle, deque()
            timer, self._timer = self._timer, None
        for handle in idle:
            handle.close()
        if timer is not None:
            timer.cancel()
            timer.join()

    def _take(self, scope: "_Scope") -> Handle:
        """Return the block's handle, else the one used last, else a new one."""
        handle, scope.handle = scope.handle or self._pop(), None
        while handle is not None:
            if handle.is_quiet():
                return handle
            handle.close()
            handle = self._pop()
        return Handle(self._options, self._largest_body)

    def _pop(self) -> Handle | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, handle: Handle) -> None:
        handle.idle_since = time.monotonic()
        with self._lock:
            if len(self._idle) < self._most_idle:
                self._idle.append(handle)
                self._start_timer()
                return
        handle.close()

    def _start_timer(self) -> None:
        """Have idle connections closed in time also if no request follows.

        Otherwise those of a burst, which the server closes, would stay in CLOSE_WAIT.
        """
        if self._timer is None and self._idle:
            due = self._idle[0].idle_since + self._idle_seconds - time.monotonic()
            timer = threading.Timer(max(due, 0), self._close_old)
            timer.daemon = True
            # Without a thread to be had, the next request tries again.
            with suppress(RuntimeError):
                timer.start()
                self._timer = timer

    def _close_old(self) -> None:
        old = []
        with self._lock:
            latest = time.monotonic() - self._idle_seconds
            while self._idle and self._idle[0].idle_since <= latest:
                old.append(self._idle.popleft())
            if self._timer is not None:  # not closed meanwhile
                self._timer = None
                self._start_timer()
        for handle in old:
            handle.close()


class _Scope(AbstractContextManager[None]):
    """What a thread has inside `HttpClient.within`."""

    def __init__(
        self, here: threading.local, deadline: float, keep: Callable[[Handle], None]
    ) -> None:
        self._here = here
        self._keep = keep
        self.deadline = deadline
        self.handle: Handle | None = None

    def __enter__(self) -> None:
        self._here.scope = self

    def __exit__(self, *_: object) -> None:
        del self._here.scope
        if self.handle is not None:
            self._keep(self.handle)


def _not_proxied(named: str | None) -> str:
    """Return the hosts to reach without a proxy: those that the operator names, and this one."""
    if named is None or named.strip() == "*":
        return named or NEVER_PROXIED
    return f"{named},{NEVER_PROXIED}"
