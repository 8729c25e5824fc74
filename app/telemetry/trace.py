"""The context of one request: its names, its deadline, its caller, and where its time goes."""

import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from app.errors import CallerIsGone

# In the state of a request (https://asgi.readthedocs.io/en/latest/specs/lifespan.html): a function
# that returns, in any thread, whether the caller has hung up.
CALLER_IS_GONE = "caller_is_gone"
# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags.
# Versions after 00 may append fields.
TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace_id>[0-9a-f]{32})"
    r"-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?"
)


@dataclass
class Trace:
    """One request, from its head to the end of its response.

    Attributes:
        request_id: names the request in its response, in the log and in Stripe's metadata.
        until: when the caller's response is due, by `time.monotonic`.
        state: what the server knows of the request; see `CALLER_IS_GONE`.
        trace_id: names the request in the caller's own tracing; empty if it is not traced.
        client: the caller's address; empty if it is not known.
        prefix: the path that a trusted proxy serves this service under; empty for none.
        partner: the id of the calling partner, once its access key is checked.
        user: the row of the user, once it is known.
        seconds: how long the request spent where; `checks` are credentials, parameters and body.
        began: when the head had arrived, by `time.perf_counter`.
    """

    request_id: str
    until: float = 0.0
    state: Mapping[str, Any] = field(default_factory=dict)
    trace_id: str = ""
    client: str = ""
    prefix: str = ""
    partner: int | None = None
    user: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def require_caller(self) -> None:
        """Check that the caller still waits, before work for it begins.

        Raises:
            CallerIsGone: it has hung up.
        """
        is_gone = self.state.get(CALLER_IS_GONE)
        if is_gone is not None and is_gone():
            raise CallerIsGone

    def rounded(self) -> dict[str, float]:
        """Return `seconds` as the log shows them, to a tenth of a millisecond."""
        return {name: round(seconds, 4) for name, seconds in self.seconds.items()}


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def begin(request_id: str, budget: float, state: Mapping[str, Any]) -> Trace:
    """Begin the trace of the request that this context belongs to.

    Args:
        budget: how long the request may take, in seconds.
    """
    trace = Trace(request_id, time.monotonic() + budget, state)
    _current.set(trace)
    return trace


def current() -> Trace:
    """Return the trace of this context's request; outside a request, one that is not logged."""
    return _current.get() or Trace("")


def time_left(default: float) -> float:
    """Return how many seconds this context's request has left; `default` outside a request."""
    trace = _current.get()
    return default if trace is None else trace.until - time.monotonic()


class spent(AbstractContextManager[None]):  # noqa: N801 - reads as what it does
    """Add the time inside the block to what the request spent there."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        seconds = current().seconds
        took = time.perf_counter() - self._began
        seconds[self._where] = seconds.get(self._where, 0.0) + took


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a `traceparent` header; empty if the header is not valid."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or (found["more"] and found["version"] == "00"):
        return ""
    return found["trace_id"]
