"""An instance of the service without HTTP, in the test's own process."""

import contextlib
import threading
import unittest.mock
from collections.abc import Callable, Iterator
from typing import Any

from faults import tally
from faults.auditor import Acknowledged, Findings, audit
from faults.fake_stripe import FakeStripe
from sqlalchemy import update

from app.customers.attempts import Attempts
from app.customers.calls import Calls
from app.customers.completer import Completer
from app.customers.forget import Forgetting
from app.customers.refusal_limits import RefusalLimits
from app.customers.replaced_cards import ReplacedCards
from app.customers.save_card import Customers
from app.customers.steps import Cards
from app.customers.timeouts import Timeouts
from app.customers.token_cipher import TokenCipher
from app.customers.upkeep import Upkeep
from app.customers.user import User
from app.storage.database import Database
from app.storage.tables import issuers, now, partners, users
from app.stripe_account.account import StripeAccount
from app.telemetry.metrics import Metrics

SECRET_KEY = "sk_test_faults"


class Crash(BaseException):
    """Raised where a process would be killed. No code catches it."""


class Crashes:
    """Ends a request at a named point, once, or lets it wait there.

    Points are `<arrow>.at`, before its statement, `<arrow>.before`, before its commit, and
    `<arrow>.after`; for a call to Stripe, `call.before` and `call.after`.
    """

    TRANSITIONS = (
        *("claim", "claim_to_forget", "take_over", "renew", "extend", "advance", "restart"),
        *("accept", "refuse", "withdraw", "release", "erase"),
    )
    CALLS = (
        *("create_customer", "replace_source", "create_payment_method", "attach", "set_default"),
        *("delete", "detach"),
    )

    def __init__(self, attempts: Attempts, stripe: StripeAccount, database: Database) -> None:
        self.point = ""
        self.skip = 0
        self.pauses: dict[str, Callable[[], object]] = {}
        self._here = threading.local()
        for arrow in self.TRANSITIONS:
            setattr(attempts, arrow, self._arrow(arrow, getattr(attempts, arrow)))
        for call in self.CALLS:
            setattr(stripe, call, self._call(getattr(stripe, call)))
        self._dialect: Any = database.engine.dialect
        self._commit = self._dialect.do_commit
        self._dialect.do_commit = self._committing

    def end(self) -> None:
        """Watch no longer."""
        self._dialect.do_commit = self._commit

    def hit(self, point: str) -> None:
        """End here, or wait here once, if this is the point."""
        if pause := self.pauses.pop(point, None):
            pause()
        if point != self.point:
            return
        if self.skip:
            self.skip -= 1
            return
        self.point = ""
        tally.count("crashes")
        raise Crash(point)

    def _arrow(self, name: str, arrow: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.hit(f"{name}.at")
            self._here.arrow = name
            try:
                result = arrow(*args, **kwargs)
            finally:
                self._here.arrow = ""
            self.hit(f"{name}.after")
            return result

        return wrapped

    def _call(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.hit("call.before")
            result = call(*args, **kwargs)
            self.hit("call.after")
            return result

        return wrapped

    def _committing(self, connection: Any) -> None:
        if arrow := getattr(self._here, "arrow", ""):
            try:
                self.hit(f"{arrow}.before")
            except Crash:
                # The end of a process ends its transaction.
                connection.rollback()
                raise
        self._commit(connection)


class Instance:
    """One process's worth of the service, without HTTP.

    Args:
        url: of a migrated database.
        fake_stripe: Stripe.
        network: carries calls in the place of sockets.
        database: opened by another, who closes it too.
        call, request: how long to wait, in seconds.
        lease: in seconds.
        secret: what tokens are sealed with.
        per_user, per_partner: how many refused cards are allowed within an hour.
    """

    def __init__(
        self,
        url: str,
        fake_stripe: FakeStripe,
        *,
        call: float = 0.4,
        request: float = 4.0,
        lease: float = 1.0,
        per_user: int = 1000,
        per_partner: int = 100_000,
        network: Any = None,
        database: Database | None = None,
        secret: str = SECRET_KEY,
        cards: Cards = "source",
    ) -> None:
        self._is_guest = database is not None
        self.database = database or Database(url)
        self.fake_stripe = fake_stripe
        self.request = request
        limits = RefusalLimits(per_user, per_partner, 3600.0)
        timeouts = Timeouts(call, request)
        self.installation = self.database.installation()
        self.attempts = Attempts(
            self.database, TokenCipher(secret), lease, limits, self.installation, cards
        )
        self.upkeep = Upkeep(self.database, self.installation, limits.window)
        if network is None:
            self.stripe = StripeAccount(SECRET_KEY, fake_stripe.url, connections=20)
        else:
            connections = "app.stripe_account.exchanges.HttpClient"
            with unittest.mock.patch(connections, return_value=network):
                self.stripe = StripeAccount(SECRET_KEY)
        self.calls = Calls(self.stripe, self.installation, is_live=False)
        self.customers = Customers(self.attempts, self.calls, timeouts, limits)
        self.forgetting = Forgetting(self.customers, self.attempts, timeouts)
        self.replaced_cards = ReplacedCards(self.upkeep, self.stripe, call)
        self.crashes = Crashes(self.attempts, self.stripe, self.database)
        self.acknowledged: dict[str, Acknowledged] = {}

    def __enter__(self) -> "Instance":
        return self

    def __exit__(self, *_: object) -> None:
        self.stripe.close()
        self.crashes.end()
        if not self._is_guest:
            self.database.close()

    def user(self, subject: str = "user-1", email: str | None = None) -> User:
        """Return a user of the one partner that there is."""
        with self.database.reading() as connection:
            issuer = connection.execute(issuers.select()).first()
        if issuer is None:
            with self.database.writing() as connection:
                partner = connection.execute(
                    partners.insert().values(name="Acme", created_at=now()).returning(partners.c.id)
                ).scalar_one()
                connection.execute(
                    issuers.insert().values(
                        partner_id=partner,
                        issuer="https://acme.example/",
                        audience="coord",
                        is_test=False,
                        created_at=now(),
                    )
                )
            return self.user(subject, email)
        return User(
            issuer.id, issuer.partner_id, "Acme", issuer.issuer, subject, email, is_test=False
        )

    def save(self, token: str, subject: str = "user-1", email: str | None = None) -> str:
        """Save a card; a success is remembered for the audit."""
        self.fake_stripe.account.sent_by(subject, token)
        customer_id = self.customers.save_card(self.user(subject, email), token)
        tally.count("cards saved")
        self.acknowledged[subject] = Acknowledged(token, customer_id)
        return customer_id

    def row(self, subject: str = "user-1") -> Any:
        """Return a user's row."""
        with self.database.reading() as connection:
            return connection.execute(users.select().where(users.c.subject == subject)).one()

    def change(self, subject: str | None = None, **values: Any) -> None:
        """Change rows behind the service's back: ages, leases."""
        statement = update(users).values(**values)
        if subject is not None:
            statement = statement.where(users.c.subject == subject)
        with self.database.writing() as connection:
            connection.execute(statement)

    def let_leases_expire(self) -> None:
        """End all leases, and the completer's pauses, as time would after a crash."""
        with self.database.writing() as connection:
            connection.execute(
                update(users)
                .where(users.c.lease_until.is_not(None))
                .values(lease_until=now() - 61.0)
            )

    def grow_old(self, seconds: float) -> None:
        """Set the beginning of open attempts back by a time."""
        with self.database.writing() as connection:
            connection.execute(
                update(users)
                .where(users.c.attempt_id.is_not(None))
                .values(
                    attempt_started_at=users.c.attempt_started_at - seconds,
                    attempt_sent_at=users.c.attempt_sent_at - seconds,
                )
            )
        with self.fake_stripe.account.lock:
            for customer in self.fake_stripe.account.customers.values():
                customer.created -= int(seconds)

    @contextlib.contextmanager
    def completer(self, interval: float = 0.05) -> Iterator[Completer]:
        """Run the completer inside the block."""
        completer = Completer(
            self.customers,
            self.upkeep,
            self.replaced_cards,
            self.database,
            Metrics(),
            interval=interval,
        )
        completer.start()
        try:
            yield completer
        finally:
            completer.stop()

    def complete(self) -> int:
        """Do what the completer does, once, in this thread; returns how many stay open."""
        self.let_leases_expire()
        for row in self.upkeep.expired(1000, all_of_them=True):
            with contextlib.suppress(Exception):
                self.customers.complete(row.id, row.attempt_id, row.partner_id)
        return self.upkeep.open_attempts()[0]

    def audit(self) -> Findings:
        """Compare with Stripe."""
        return audit(self.database.engine, self.fake_stripe.account, self.acknowledged)
