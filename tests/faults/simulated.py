"""Time, network and threads as a test wants them: one request runs at a time, up to a point.

So every interleaving is a sequence of steps, which can be told, shrunk and repeated.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from faults import wire
from faults.account import Account
from faults.call_faults import Fault
from faults.instance import Crash, Instance
from faults.records import Call
from werkzeug.datastructures import Headers

from app.http_client import NoResponse

# Longest that a step may take before the test gives up, in seconds.
PATIENCE = 60.0
# Where a request can be held up; not within a transaction, which no process is held up in for long.
STOPS = [
    *("claim.at", "claim.after", "take_over.at", "take_over.after", "call.before", "call.after"),
    *(
        "accept.at",
        "accept.after",
        "refuse.at",
        "release.at",
        "renew.at",
        "restart.at",
        "restart.after",
    ),
    "sleep",
]
# Where it can end as by SIGKILL.
ENDS = [
    *STOPS,
    *(f"{arrow}.before" for arrow in ("claim", "take_over", "accept", "refuse", "restart")),
]

here = threading.local()


class Clock:
    """Stands in for the module `time`: time is what one slept, and who sleeps is later at once."""

    def monotonic(self) -> float:
        return float(getattr(here, "slept", 0.0))

    def sleep(self, seconds: float) -> None:
        here.slept = getattr(here, "slept", 0.0) + seconds
        if running := getattr(here, "running", None):
            running.instance.crashes.hit("sleep")


class Network:
    """Stands in for `app.http_client.HttpClient`, between all instances and one account.

    Attributes:
        faults: what becomes of the next calls, in their order; then all is well.
        calls: what was sent.
        late: arrives when the test allows it, without a caller that waits for it.
        on_call: called with each call as it is sent.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self.faults: list[Fault] = []
        self.calls: list[Call] = []
        self.late: list[Callable[[], None]] = []
        self.on_call: Callable[[], None] = lambda: None

    @contextmanager
    def within(self, _seconds: float) -> Iterator[None]:
        yield

    def discard(self) -> None:
        """Close no connection, as there is none."""

    def close(self) -> None:
        """Close no connection, as there is none."""

    def request(
        self, method: str, url: str, headers: Any, body: str | None = None
    ) -> tuple[bytes, int, Headers]:
        """Carry one request, and its answer if that comes."""
        parts = urlsplit(url)
        request = wire.Request(
            method,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in headers.items()},
            dict(parse_qsl(body or "", keep_blank_values=True)),
        )
        call = Call(request, time.monotonic())
        self.calls.append(call)
        self.on_call()
        answer = self._carry(call, self.faults.pop(0) if self.faults else Fault())
        if answer is None:
            raise NoResponse("no answer")
        actual = Headers([("Content-Type", answer.content_type), *answer.headers])
        return answer.body, answer.status, actual

    def arrive(self, number: int) -> None:
        """Deliver one late call, or complete its execution."""
        self.late.pop(number)()

    def _carry(self, call: Call, fault: Fault) -> wire.Answer | None:
        is_post = call.request.method == "POST"
        if is_post and fault.hold == "before" and fault.executed:
            self.late.append(lambda: self._do(call, fault))
            return None
        if is_post and fault.hold == "during":
            execution = Execution(lambda meanwhile: self.account.answer(call, fault, meanwhile))
            if not execution.has_ended:
                self.late.append(execution.end)
            return None
        answer = self._do(call, fault)
        if fault.hold or fault.ending in ("reset", "cut", "slow head", "slow body"):
            return None
        return replace(answer, body=answer.body[:-10]) if fault.ending == "truncated" else answer

    def _do(self, call: Call, fault: Fault) -> wire.Answer:
        return self.account.answer(call, fault, lambda: None)


class Execution:
    """A call that Stripe is at work on until the test lets it come to an end."""

    def __init__(self, execute: Callable[[Callable[[], object]], object]) -> None:
        self._at_work, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(execute,), daemon=True)
        self._thread.start()
        assert self._at_work.wait(PATIENCE)

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> None:
        self._go_on.set()
        self._thread.join(PATIENCE)

    def _run(self, execute: Callable[[Callable[[], object]], object]) -> None:
        def meanwhile() -> None:
            self._at_work.set()
            assert self._go_on.wait(PATIENCE)

        execute(meanwhile)
        self._at_work.set()


class Running:
    """A request, or what else a process is at, in a thread that runs only when it is told to.

    Args:
        instance: the process.
        work: what is done; its result or its error is the outcome.
        faults: what becomes of its calls.
        stop: where it is held up the first time it comes there, if at all.
        end: where it ends as by SIGKILL, if at all.

    Attributes:
        outcome: None while it is held up.
    """

    def __init__(
        self,
        instance: Instance,
        work: Callable[[], object],
        faults: list[Fault],
        stop: str = "",
        end: str = "",
    ) -> None:
        self.instance = instance
        self.outcome: object = None
        self._work = work
        self.faults = faults
        self._stop, self._end = stop, end
        self._is_killed = False
        self._resting, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_on(self, network: Network) -> None:
        """Run until it is held up or has come to its end."""
        network.faults = self.faults
        crashes = self.instance.crashes
        crashes.point = self._end
        crashes.pauses = {self._stop: self._rest} if self._stop else {}
        self._resting.clear()
        self._go_on.set()
        assert self._resting.wait(PATIENCE), "a step without end"
        crashes.point, crashes.pauses = "", {}
        network.faults = []

    def kill(self, network: Network) -> None:
        """End it where it is held up."""
        self._is_killed = True
        self.go_on(network)
        assert isinstance(self.outcome, Crash)

    def _rest(self) -> None:
        self._stop = ""
        self._go_on.clear()
        self._resting.set()
        assert self._go_on.wait(PATIENCE * 10)
        if self._is_killed:
            raise Crash

    def _run(self) -> None:
        here.running = self
        assert self._go_on.wait(PATIENCE)
        try:
            self.outcome = self._work()
        except BaseException as error:
            self.outcome = error
        self._resting.set()
