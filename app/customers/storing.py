"""Writes that are repeated after a failure of the database, so that a failover delays them only.

Each of them compares before it sets: repeated after a commit that was not confirmed, it
changes nothing.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from app.customers.timeouts import STORE_PAUSE
from app.errors import StorageUnavailable

T = TypeVar("T")


def store(write: Callable[[], T], deadline: float) -> T:
    """Write an outcome, again and again while the database is out of reach and time is left.

    Without that, the row would stay leased by a process that does no more work on it, for as long
    as the lease lasts.

    Args:
        write: raises `LeaseLost` if it is repeated after a commit; the settled row then shows it.
        deadline: by `time.monotonic`.

    Raises:
        StorageUnavailable: no time is left.
    """
    while True:
        try:
            return write()
        except StorageUnavailable:
            if time.monotonic() + 2 * STORE_PAUSE >= deadline:
                raise
            time.sleep(STORE_PAUSE * random.uniform(1, 2))


def lease(write: Callable[[], T], deadline: float) -> T:
    """Lease a row; if the outcome of the commit is unknown, again until it is known.

    Any other failure is left to the caller's retry, as nothing was stored and nothing was done.

    Args:
        write: returns the same if it is repeated after a commit.
        deadline: by `time.monotonic`.

    Raises:
        StorageUnavailable: the row was not leased, or no time is left.
    """
    try:
        return write()
    except StorageUnavailable as error:
        if not error.is_commit_unknown:
            raise
    return store(write, deadline)
