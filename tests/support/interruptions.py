"""Ends `reconcile` or `import` at any point at which its process could be killed."""

import copy
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.account import Account
from faults.fake_stripe import FakeStripe
from faults.instance import Crash, Instance
from sqlalchemy import Connection

CALLS = ("retrieve", "created_between", "set_metadata", "delete")


class Interruption:
    """Ends the work of an instance at a point: before or after a call to Stripe, or a commit.

    Args:
        instance: whose work it is.
        point: the number of the point; a run with fewer points comes to its end.
    """

    def __init__(self, instance: Instance, point: int) -> None:
        self._left = point
        self._lock = threading.Lock()
        for call in CALLS:
            setattr(instance.stripe, call, self._around(getattr(instance.stripe, call)))
        self._writing = instance.database.writing
        instance.database.writing = self._around_commit  # type: ignore[method-assign]

    def _hit(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left < 0:
                raise Crash

    def _around(self, call: Any) -> Any:
        def wrapped(*args: Any, **options: Any) -> Any:
            self._hit()
            result = call(*args, **options)
            self._hit()
            return result

        return wrapped

    @contextmanager
    def _around_commit(self) -> Iterator[Connection]:
        self._hit()
        with self._writing() as connection:
            yield connection
            self._hit()
        self._hit()


class Snapshot:
    """What the database and Stripe hold at one moment.

    Args:
        path: of an SQLite database.
        account: Stripe's.
    """

    def __init__(self, path: Path, account: Account) -> None:
        self._folder = path.parent
        self._database = path.with_suffix(".snapshot")
        shutil.copy(path, self._database)
        state = {name: value for name, value in vars(account).items() if name not in SHARED}
        self._account = copy.deepcopy(state)
        self._number = 0

    def restore(self, fake_stripe: FakeStripe) -> Instance:
        """Return an instance on a copy of the database, with Stripe as it was."""
        self._number += 1
        path = self._folder / f"copy-{self._number}.db"
        shutil.copy(self._database, path)
        vars(fake_stripe.account).update(copy.deepcopy(self._account))
        return Instance(f"sqlite:///{path}", fake_stripe)


# Parts of an account that are not its state.
SHARED = ("lock", "clock")
