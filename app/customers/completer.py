"""Finishes what crashes and Stripe's bad days left open, while the service runs."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from sqlalchemy import Row, or_, update

from app.customers.attempts import Attempts
from app.customers.save_card import Customers
from app.errors import UsersApiError
from app.storage.database import Database
from app.storage.tables import leases, now
from app.telemetry.metrics import Metrics

log = structlog.get_logger()

# How often it looks, in seconds: what is left open waits for its lease and at most this.
INTERVAL = 5.0
# How many attempts it settles side by side: what a crash of two full workers leaves open, 2,000 of
# them, is done in half a minute at 0.3 s each, and within Stripe's 100 writes a second.
SIDE_BY_SIDE = 30
AT_ONCE = 2000


class Completer:
    """A thread of each worker; by a lease in the database, one among all of them is at work.

    The lease only spares work: two completers at once do no harm, as each row has its own.

    Args:
        customers: knows how to settle an attempt.
        attempts: knows which are open.
        database: where the lease is.
        metrics: shows how many are open.
        interval: seconds between two looks.
    """

    def __init__(
        self,
        customers: Customers,
        attempts: Attempts,
        database: Database,
        metrics: Metrics,
        interval: float = INTERVAL,
    ) -> None:
        self._customers = customers
        self._attempts = attempts
        self._database = database
        self._metrics = metrics
        self._interval = interval
        self._holder = uuid.uuid4().hex
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="completer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the attempts at hand."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._is_my_turn():
                    self._settle_all()
            except UsersApiError as error:
                log.warning("completer", code=error.code, inner=error.inner)
            except Exception as error:
                log.error("completer failed", exc_info=error)
            self._stopping.wait(self._interval)

    def _is_my_turn(self) -> bool:
        statement = (
            update(leases)
            .where(
                leases.c.name == "completer",
                or_(leases.c.until <= now(), leases.c.holder == self._holder),
            )
            .values(holder=self._holder, until=now() + 3 * self._interval)
        )
        with self._database.writing() as connection:
            return connection.execute(statement).rowcount == 1

    def _settle_all(self) -> None:
        self._attempts.forget_old_refusals()
        number, age = self._attempts.open_ones()
        self._metrics.open_attempts.set(number)
        self._metrics.oldest_attempt.set(age)
        rows = self._attempts.abandoned(AT_ONCE)
        if rows:
            with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="completer") as helpers:
                list(helpers.map(self._settle, rows))

    def _settle(self, row: Row[Any]) -> None:
        if self._stopping.is_set():
            return
        try:
            outcome = self._customers.complete(row.id, row.attempt_id, row.partner_id)
        except UsersApiError as error:
            outcome = error.code
        log.info("completed", user=row.id, outcome=outcome)
