"""A service whose database is restored, lost and copied, and whose operator is killed."""

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from faults.auditor import Findings, audit
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Crash, Instance
from sqlalchemy import func, insert, select, text, update
from support.interruptions import Interruption
from support.reconciling import hash_of, import_lines, line, reconcile, stray

from app.customers.steps import Cards
from app.errors import StripeUnavailable
from app.reconciliation.finding import Finding
from app.reconciliation.installations import claim_installation
from app.storage.database import Database
from app.storage.tables import installation, metadata, users

Rows = dict[str, list[dict[str, Any]]]
# Points at which a run can be killed; most runs have fewer.
MOST_POINTS = 30


def read_all(database: Database) -> Rows:
    """Return what all tables hold, as a backup does."""
    with database.reading() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }


def write_all(database: Database, rows: Rows) -> None:
    """Replace what all tables hold; ids are given out again, as after a restored backup."""
    with database.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        for table in metadata.sorted_tables:
            if rows[table.name]:
                connection.execute(insert(table), rows[table.name])
        if database.engine.dialect.name == "postgresql":
            last = connection.scalar(select(func.coalesce(func.max(users.c.id), 0) + 1))
            sequence = "SELECT setval(pg_get_serial_sequence('users', 'id'), :last, false)"
            connection.execute(text(sequence), {"last": last})


class Operations:
    """One installation, its users, and what happens to its database.

    Args:
        url: of a migrated database.
        fake_stripe: Stripe.
        chance: decides what happens.
        cards: how cards are saved.

    Attributes:
        expected: each user's customer, as the last 200 named it.
        counts: how often what happened.
    """

    def __init__(
        self, url: str, fake_stripe: FakeStripe, chance: random.Random, cards: Cards
    ) -> None:
        self.expected: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._url = url
        self._fake_stripe = fake_stripe
        self._chance = chance
        self._cards = cards
        self._new = 0
        self._backup: tuple[Rows, dict[str, str]] | None = None

    def instance(self) -> Instance:
        """Start another process."""
        return Instance(self._url, self._fake_stripe, cards=self._cards)

    def happen(self) -> None:
        """Cause one event."""
        events: dict[Callable[[], None], int] = {
            self.save: 12,
            self.back_up: 2,
            self.restore: 2,
            self.lose: 1,
            self.take_over: 2,
            self.forget: 1,
        }
        (event,) = self._chance.choices(list(events), list(events.values()))
        self.counts[event.__name__] += 1
        event()

    def save(self, subject: str = "") -> None:
        """Save a card; the answer of Stripe may be lost, unless the user is named."""
        is_lost = not subject and self._chance.random() < 0.2
        subject = subject or f"user-{self._chance.randrange(12)}"
        with self.instance() as instance:
            if is_lost:
                self._fake_stripe.fail(FAULTS["reset after execution"], times=None)
            try:
                self.expected[subject] = instance.save(self._fake_stripe.account.token(), subject)
                self.forgotten.discard(subject)
            except StripeUnavailable:
                assert is_lost
                self.counts["lost answers"] += 1
            self._fake_stripe.heal()
            instance.let_leases_expire()

    def back_up(self) -> None:
        with self.instance() as instance:
            self._backup = read_all(instance.database), dict(self.expected)

    def restore(self) -> None:
        """Restore the backup; sometimes a user saves a card before `reconcile` was run.

        That customer is the user's then, also if the answer is lost and `reconcile` settles it.
        """
        if self._backup is None:
            return
        rows, _ = self._backup
        with self.instance() as instance:
            write_all(instance.database, rows)
        if is_early := self._chance.random() < 0.5:
            self.save(self._chance.choice([*self.expected, "user-0"]))
        self.reconcile(delete=is_early)

    def lose(self) -> None:
        """Lose the database, and rebuild it from the installation's id alone."""
        with self.instance() as instance:
            lost = instance.database.installation()
            if not any(
                one.metadata.get("coord_installation") == lost
                for one in self._fake_stripe.account.live()
            ):
                return
            rows = read_all(instance.database)
            write_all(instance.database, {**rows, "users": [], "refusals": []})
            with instance.database.writing() as connection:
                connection.execute(update(installation).values(id="0" * 32))
        # The backup is of the other installation.
        self._backup = None
        self.reconcile(rebuilt=lost)

    def take_over(self) -> None:
        """Import customers of users who have none, killed at some point, and again."""
        self._new += 1
        subjects = [f"import-{self._new}-{number}" for number in range(3)]
        customers = {subject: stray(self._fake_stripe.account) for subject in subjects}
        lines = [line(one, subject) for subject, one in customers.items()]
        with self.instance() as instance:
            Interruption(instance, self._chance.randrange(MOST_POINTS // 2))
            with contextlib.suppress(Crash):
                import_lines(instance, *lines)
        with self.instance() as instance:
            assert not any(one.is_left for one in import_lines(instance, *lines))
        self.expected.update(customers)

    def forget(self) -> None:
        """Forget a user, and so must every backup."""
        if not self.expected:
            return
        subject = self._chance.choice(list(self.expected))
        with self.instance() as instance:
            owner = hash_of(instance, subject)
            with instance.database.reading() as connection:
                user_id = connection.scalar(select(users.c.id).where(users.c.user_hash == owner))
            assert user_id is not None
            instance.forgetting.forget(user_id)
        del self.expected[subject]
        self.forgotten.add(subject)

    def reconcile(self, *, delete: bool = False, rebuilt: str | None = None) -> None:
        """Reconcile, killed at some point, and again; then nothing is lost."""
        before = {one.id for one in self._fake_stripe.account.live()}
        with self.instance() as instance:
            Interruption(instance, self._chance.randrange(MOST_POINTS))
            try:
                self._run(instance, delete, rebuilt)
            except Crash:
                self.counts["kills"] += 1
        with self.instance() as instance:
            instance.let_leases_expire()
            found = self._run(instance, delete, rebuilt)
            assert not any(one.is_left for one in found) or not delete, found
            self._check(instance)
        after = {one.id for one in self._fake_stripe.account.live()}
        assert delete or before <= after
        self.counts["deleted"] += len(before - after)
        assert set(self.expected.values()) <= after

    def _run(self, instance: Instance, delete: bool, rebuilt: str | None) -> list[Finding]:
        if rebuilt is None:
            return reconcile(instance, delete=delete)

        def claim() -> None:
            claim_installation(instance.database, rebuilt)

        return reconcile(instance, delete=delete, installation=rebuilt, claim=claim)

    def _check(self, instance: Instance) -> None:
        with instance.database.reading() as connection:
            rows = connection.execute(select(users)).all()
        stored = {bytes(row.user_hash): row.stripe_customer_id for row in rows}
        for subject, customer_id in self.expected.items():
            assert stored.get(hash_of(instance, subject)) == customer_id, subject

    def end(self) -> Findings:
        """Save one more card for each user, and compare everything with Stripe."""
        with self.instance() as instance:
            reconcile(instance, delete=True)
            for subject in [*self.expected, *self.forgotten]:
                token = self._fake_stripe.account.token()
                saved = instance.save(token, subject)
                assert saved == self.expected.get(subject, saved), subject
            # A card that was replaced just now, which the completer has had no time to detach.
            left = reconcile(instance, delete=True)
            assert all((one.kind, one.is_left) == ("replaced_card", False) for one in left), left
            assert reconcile(instance, delete=True) == []
            return audit(instance.database.engine, self._fake_stripe.account, instance.acknowledged)
