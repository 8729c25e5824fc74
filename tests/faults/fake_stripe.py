"""A fake Stripe whose network and temper can be scripted, and that tells what it executed.

It is apart from the sandbox's stand-in on purpose: it does little of Stripe, and fails at any
point of a call.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from faults import tally
from faults.account import Account
from faults.call_faults import Fault
from faults.records import Call
from faults.wire import Answer, Connection, Request, Reset, Wire

# Longest that what was let in may take to end, in seconds.
PATIENCE = 30.0


@dataclass
class _Script:
    fault: Fault
    times: int | None
    token: str | None
    method: str | None
    path: str

    def fits(self, call: Call) -> bool:
        """Return whether the call is one that shall go wrong."""
        return (
            self.times != 0
            and self.token in (None, call.token)
            and self.method in (None, call.request.method)
            and call.request.path.endswith(self.path)
        )


class FakeStripe:
    """The account behind a socket.

    Attributes:
        account: what Stripe holds, and the ledger.
        calls: what arrived, executed or not.
        faulted: how many calls went wrong.
        processing: seconds that each execution takes.
        on_executed: called with each call that was executed, before its answer is sent.
    """

    def __init__(self) -> None:
        self.account = Account()
        self.calls: list[Call] = []
        self.faulted = 0
        self.processing = 0.0
        self.on_executed: Callable[[Call], None] | None = None
        self._scripts: list[_Script] = []
        self._wire = Wire(self._serve)
        self.url = self._wire.url

    def __enter__(self) -> "FakeStripe":
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._wire.stop()

    def fail(
        self,
        fault: Fault,
        *,
        times: int | None = 1,
        token: str | None = None,
        method: str | None = "POST",
        path: str = "",
    ) -> None:
        """Script a fault for the next calls that match; with `times` None, until `heal`.

        A call fits by its token, its method, and how its path ends.
        """
        with self.account.lock:
            self._scripts.append(_Script(fault, times, token, method, path))

    def heal(self) -> None:
        """Forget all faults that are scripted, and let in what hangs."""
        with self.account.lock:
            self._scripts.clear()
        self.release_and_wait()

    def release_calls(self) -> None:
        """Let what hangs go on."""
        self._wire.gate.open()

    def refusing(self) -> contextlib.AbstractContextManager[None]:
        """Refuse connections inside the block, and end those that there are."""
        return self._wire.refusing()

    def release_and_wait(self) -> None:
        """Let what hangs go on, and wait until it has come to its end."""
        with self.account.lock:
            hanging = [call for call in self.calls if not call.done.is_set()]
        self.release_calls()
        until = time.monotonic() + PATIENCE
        for call in hanging:
            # One that was still on its way to the gate waits there for the next time.
            while not call.done.wait(0.05):
                assert time.monotonic() < until, call
                self.release_calls()

    def _serve(self, request: Request, connection: Connection) -> bool:
        """Answer one call; False ends the connection."""
        call = Call(request, time.monotonic())
        with self.account.lock:
            self.calls.append(call)
            fault = self._fault(call)
        try:
            return self._told(call, fault, connection)
        finally:
            call.done.set()

    def _told(self, call: Call, fault: Fault, connection: Connection) -> bool:
        if fault.delay:
            self._wire.gate.is_open(within=fault.delay)
        if fault.hold == "before":
            self._wire.gate.pass_through()
        answer = self._answer(call, fault)
        if fault.hold == "after":
            self._wire.gate.pass_through()
        if fault.ending == "reset":
            raise Reset
        if fault.ending in ("slow head", "slow body"):
            connection.trickle(answer, head=fault.ending == "slow head")
        elif fault.ending == "cut":
            connection.cut(answer)
        else:
            is_whole = fault.ending == "whole"
            connection.send(answer if is_whole else replace(answer, body=answer.body[:-10]))
            return True
        return False

    def _fault(self, call: Call) -> Fault:
        for script in self._scripts:
            if script.fits(call):
                if script.times is not None:
                    script.times -= 1
                self.faulted += 1
                tally.count("faults")
                return script.fault
        return Fault()

    def _answer(self, call: Call, fault: Fault) -> Answer:
        answer = self.account.answer(call, fault, lambda: self._meanwhile(fault))
        is_done = call.request.method == "POST" and fault.executed and not call.replayed
        if self.on_executed and is_done:
            self.on_executed(call)
        return answer

    def _meanwhile(self, fault: Fault) -> None:
        if fault.hold == "during":
            self._wire.gate.pass_through()
        elif self.processing:
            self._wire.gate.is_open(within=self.processing)
