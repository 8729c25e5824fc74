"""What goes with a request through all layers: whose it is, and what time it has and takes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from app.errors import CallerIsGone

# In the state of a request (https://asgi.readthedocs.io/en/latest/specs/lifespan.html): tells, in
# any thread, whether its caller has hung up.
CALLER_IS_GONE = "caller_is_gone"


@dataclass
class Trace:
    """One request, from its first byte to the end of its answer.

    Attributes:
        request_id: names it, in its answer, in the log and in Stripe's metadata.
        until: when its caller will have been answered, by `time.monotonic`.
        partner: the id of the calling partner, once that is certain.
        user: the row of the user, once it is known.
        state: what the server tells of it; see `CALLER_IS_GONE`.
        seconds: how long it spent where; `checks` are credentials, parameters and body.
    """

    request_id: str
    until: float = 0.0
    state: Mapping[str, Any] = field(default_factory=dict)
    partner: int | None = None
    user: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def require_caller(self) -> None:
        """Make sure that somebody waits for what is about to begin.

        Raises:
            CallerIsGone: nobody does.
        """
        is_gone = self.state.get(CALLER_IS_GONE)
        if is_gone is not None and is_gone():
            raise CallerIsGone

    def rounded(self) -> dict[str, float]:
        """Give the seconds as the log shows them, to a tenth of a millisecond."""
        return {name: round(seconds, 4) for name, seconds in self.seconds.items()}


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def begin(request_id: str, budget: float, state: Mapping[str, Any]) -> Trace:
    """Trace the request whose context this is.

    Args:
        request_id: its name.
        budget: the seconds that it may take.
        state: what the server tells of it.
    """
    trace = Trace(request_id, time.monotonic() + budget, state)
    _current.set(trace)
    return trace


def current() -> Trace:
    """Give the trace of this context's request; one that nobody reads where there is none."""
    return _current.get() or Trace("")


def time_left(otherwise: float) -> float:
    """Tell how many seconds this context's request still has; `otherwise` where there is none."""
    trace = _current.get()
    return otherwise if trace is None else trace.until - time.monotonic()


@contextmanager
def spent(where: str) -> Iterator[None]:
    """Add the time inside the block to what the request spent there."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds = current().seconds
        seconds[where] = seconds.get(where, 0.0) + time.perf_counter() - began
