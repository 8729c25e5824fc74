"""What can go wrong with a call to Stripe, by name."""

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from faults.wire import Answer


def stripe_error(status: int, code: str, param: str | None = None, **more: Any) -> Answer:
    """Return an error as Stripe words it."""
    result = {
        "type": "invalid_request_error",
        "code": code,
        "param": param,
        "message": code,
        **more,
    }
    body = {"error": {name: value for name, value in result.items() if value is not None}}
    return Answer(status, json.dumps(body).encode())


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a call.

    Attributes:
        executed: whether Stripe does what it was asked.
        hold: hangs before it reaches Stripe, while it is executed, or after, until let go.
        answer: sent in place of Stripe's own answer.
        kept: whether `answer` is what the idempotency key will replay.
        ending: how the answer arrives.
        delay: seconds before anything happens.
    """

    executed: bool = True
    hold: Literal["", "before", "during", "after"] = ""
    answer: Answer | None = None
    kept: bool = False
    ending: Literal["whole", "reset", "cut", "truncated", "slow head", "slow body"] = "whole"
    delay: float = 0.0


HTML = Answer(200, b"<html><body>Back soon</body></html>", "text/html")
FAILED = stripe_error(500, "internal", type="api_error")
IN_USE = stripe_error(409, "idempotency_key_in_use", type="idempotency_error")

# After these only Stripe knows what it did.
FAULTS: dict[str, Fault] = {
    "reset before execution": Fault(executed=False, ending="reset"),
    "reset after execution": Fault(ending="reset"),
    "hangs before execution": Fault(executed=False, hold="before", ending="reset"),
    "hangs during execution": Fault(hold="during"),
    "hangs after execution": Fault(hold="after"),
    "slow head": Fault(ending="slow head"),
    "slow body": Fault(ending="slow body"),
    "body cut short": Fault(ending="cut"),
    "truncated JSON": Fault(ending="truncated"),
    "200 with HTML": Fault(answer=HTML),
    "200 with a list": Fault(answer=Answer(200, b"[]")),
    "200 with an object": Fault(answer=Answer(200, b"{}")),
    "200 with null": Fault(answer=Answer(200, b"null")),
    "200 with nothing": Fault(answer=Answer(200, b"")),
    "409": Fault(executed=False, answer=IN_USE),
    "429": Fault(executed=False, answer=stripe_error(429, "rate_limit")),
    "429 lock timeout": Fault(executed=False, answer=stripe_error(429, "lock_timeout")),
    "500": Fault(executed=False, answer=FAILED),
    "500 executed": Fault(answer=FAILED),
    "500 kept": Fault(executed=False, answer=FAILED, kept=True),
    "500 kept and executed": Fault(answer=FAILED, kept=True),
    "502": Fault(executed=False, answer=replace(HTML, status=502)),
    "502 executed": Fault(answer=replace(HTML, status=502)),
    "503": Fault(executed=False, answer=Answer(503, b"", "text/plain")),
    "503 executed": Fault(answer=Answer(503, b"", "text/plain")),
}
# So are these: something between us and Stripe answers, in words that are not Stripe's.
NOT_STRIPE: dict[str, Fault] = {
    f"{status} of a proxy{', executed' if executed else ''}": Fault(
        executed=executed, answer=replace(HTML, status=status)
    )
    for status in (400, 402, 404, 422)
    for executed in (False, True)
}
# Executed when released, whether or not a caller still waits for it.
LATE = Fault(hold="before")
