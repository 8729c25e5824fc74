"""`coord-users` that kills itself with SIGKILL at the point named by CRASH_AT.

It passes the point CRASH_SKIP times before. The points are those of `faults.instance.Crashes`.
"""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from app.cli import main
from app.customers.attempts import Attempts
from app.storage.database import Database
from app.stripe_account.account import StripeAccount

point, skip = os.environ["CRASH_AT"], int(os.environ["CRASH_SKIP"])
# Which method each thread is in: others commit as well, the completer for one.
here = threading.local()


def hit(name: str) -> None:
    """Kill this process if this is the point and it was passed often enough."""
    global skip
    if name == point:
        skip -= 1
        if skip < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def add_crash_points(owner: Any, name: str, label: str) -> None:
    """Add the points before and after a method."""
    method: Callable[..., Any] = getattr(owner, name)

    def passing(*args: Any, **kwargs: Any) -> Any:
        hit(f"{label}.at")
        here.label = label
        try:
            result = method(*args, **kwargs)
        finally:
            here.label = ""
        hit(f"{label}.after")
        return result

    setattr(owner, name, passing)


for transition in ("claim", "advance", "accept"):
    add_crash_points(Attempts, transition, transition)
for call in ("create_customer", "replace_source", "create_payment_method", "attach", "set_default"):
    add_crash_points(StripeAccount, call, "call")


opened = Database.__init__


def opening(self: Database, url: str) -> None:
    opened(self, url)
    dialect: Any = self.engine.dialect
    commit = dialect.do_commit

    def committing(connection: Any) -> None:
        hit(f"{getattr(here, 'label', '')}.before")
        commit(connection)

    dialect.do_commit = committing


Database.__init__ = opening  # type: ignore[method-assign]
main()
