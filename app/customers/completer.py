"""Finishes what crashes and Stripe's failures left open, while the service runs."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from sqlalchemy import Row, or_, update

from app.customers.pacer import Pacer
from app.customers.replaced_cards import ReplacedCards
from app.customers.save_card import Customers
from app.customers.upkeep import Upkeep
from app.errors import CardRefused, ParameterRefused, TokenRefused, UsersApiError
from app.storage.database import Database
from app.storage.tables import leases, now
from app.telemetry.metrics import Metrics

log = structlog.get_logger()

# Pause between two rounds, in seconds: an open attempt waits for its lease and at most this.
INTERVAL = 5.0
# Attempts settled side by side. At 20 a second and 0.3 to 1 s for each, 20 are in progress.
SIDE_BY_SIDE = 20
# Attempts in one round: what a crash of two full workers leaves open.
MOST_IN_A_ROUND = 2000
# A round begins with so many. Only if Stripe answers one of them clearly is the rest tried: while
# Stripe fails, thousands of open attempts cost two calls a second.
PROBES = 10


class Completer:
    """A thread of each worker; a lease in the database lets one of them all do the work.

    The lease only saves work: two completers at once do no harm, as each row has its own lease.

    Args:
        interval: seconds between two rounds.
    """

    def __init__(
        self,
        customers: Customers,
        upkeep: Upkeep,
        replaced_cards: ReplacedCards,
        database: Database,
        metrics: Metrics,
        interval: float = INTERVAL,
    ) -> None:
        self._customers = customers
        self._upkeep = upkeep
        self._replaced_cards = replaced_cards
        self._database = database
        self._metrics = metrics
        self._interval = interval
        self._holder = uuid.uuid4().hex
        self._stopping = threading.Event()
        self._pacer = Pacer(self._stopping)
        self._thread = threading.Thread(target=self._run, name="completer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Begin no further attempts."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop after the attempts in progress."""
        self.finish()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._takes_lease():
                    self._round()
            except UsersApiError as error:
                log.warning("completer", code=error.code, inner=error.inner)
            except Exception as error:
                log.error("completer failed", exc_info=error)
            self._stopping.wait(self._interval)

    def _takes_lease(self) -> bool:
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

    def _round(self) -> None:
        self._upkeep.delete_old_refusals()
        self._upkeep.name_rows()
        number, age = self._upkeep.open_attempts()
        self._metrics.open_attempts.set(number)
        self._metrics.oldest_attempt.set(age)
        rows = self._upkeep.expired(MOST_IN_A_ROUND)
        is_well = self._settle(rows[:PROBES])
        if is_well:
            self._settle(rows[PROBES:])
            self._replaced_cards.detach(self._pacer)

    def _settle(self, rows: list[Row[Any]]) -> bool:
        """Settle attempts side by side; returns whether Stripe is well, as far as this shows."""
        if not rows:
            return True
        with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="completer") as threads:
            return any(list(threads.map(self._settle_one, rows)))

    def _settle_one(self, row: Row[Any]) -> bool:
        """Settle one attempt; returns whether Stripe answered clearly."""
        if not self._pacer.wait():
            return False
        is_clear = True
        try:
            outcome = self._customers.complete(row.id, row.attempt_id, row.partner_id)
        except (CardRefused, TokenRefused, ParameterRefused) as refusal:
            outcome = refusal.code
        except UsersApiError as error:
            outcome, is_clear = error.code, False
        log.info("completed", user=row.id, outcome=outcome)
        return is_clear
