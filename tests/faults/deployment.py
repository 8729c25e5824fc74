"""One database, one fake Stripe, one partner, and any number of server processes."""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from faults import tally
from faults.auditor import Acknowledged, Findings, audit
from faults.caller import Answer, Callers, Lost
from faults.fake_stripe import FakeStripe
from support.serving import Partner

from app.config import Settings
from app.customers.steps import Cards
from app.storage.database import Database

# Within this all must settle with no operator, in seconds; and no caller need retry for longer.
DEADLINE = 60.0


def program(name: str) -> tuple[str, str]:
    """Return the words that start one of the programs in this folder."""
    return sys.executable, str(Path(__file__).with_name(name))


class Deployment:
    """What the tests of real processes share.

    Attributes:
        acknowledged: by user, the last 200.
        settings: for each server, unless a test wants others; see `settings_of_next`.
    """

    def __init__(
        self, url: str, fake_stripe: FakeStripe, folder: Path, choose_cards: Callable[[], Cards]
    ) -> None:
        self._choose_cards = choose_cards
        self.database = Database(url)
        self.fake_stripe = fake_stripe
        self.callers = Callers(Partner(self.database))
        self.acknowledged: dict[str, Acknowledged] = {}
        self.settings = Settings(
            database_url=url,
            stripe_secret_key="sk_test_processes",
            stripe_api_base=fake_stripe.url,
            stripe_timeout=2.0,
            request_timeout=10.0,
            stripe_cards=choose_cards(),
        )
        self._folder = folder
        self._logs = 0

    def take_time(self) -> None:
        """Make calls slow, and timeouts long, so that a busy machine causes no repeated call."""
        self.settings = replace(self.settings, stripe_timeout=20.0, request_timeout=50.0)

    def settings_of_next(self) -> Settings:
        """Return the settings of one more server, which may save tokens in another way."""
        return replace(self.settings, stripe_cards=self._choose_cards())

    def log(self) -> Path:
        """Name a file for the log of one more process."""
        self._logs += 1
        return self._folder / f"log-{self._logs}"

    def save(self, url: str, token: str, subject: str) -> Answer:
        """Save a card; a success is remembered for the audit.

        Raises:
            Lost: no answer came.
        """
        self.fake_stripe.account.sent_by(subject, token)
        answer = self.callers.save(url, token, subject)
        if answer.status == 200:
            tally.count("cards saved by real processes")
            self.acknowledged[subject] = Acknowledged(token, answer.customer_id)
        return answer

    def audit(self) -> Findings:
        return audit(self.database.engine, self.fake_stripe.account, self.acknowledged)

    def settle(self) -> float:
        """Wait until nothing is open, with no operator; returns how long it took."""
        began = time.monotonic()
        while self.audit().open:
            assert time.monotonic() - began < DEADLINE, self.audit()
            time.sleep(0.1)
        return time.monotonic() - began


class Load:
    """Clients that save card after card, each as often as it takes.

    Args:
        deployment: where.
        urls: tells the addresses at which a server may be, at the moment.
        chance: picks among them.
        patience: how long one card may take, in seconds.

    Attributes:
        counts: answers by status, requests whose answer was `lost`, and the `cards` saved.
    """

    def __init__(
        self,
        deployment: Deployment,
        urls: Callable[[], list[str]],
        chance: random.Random | None = None,
        patience: float = DEADLINE,
    ) -> None:
        self._patience = patience
        self.counts: Counter[str] = Counter()
        self.over = threading.Event()
        self._deployment = deployment
        self._urls = urls
        self._chance = chance or random.Random()

    def client(self, subject: str) -> None:
        """Save cards for a user until it is over, and one more then."""
        while not self.over.is_set():
            self.converge(subject)
        self.converge(subject)

    def wait_for(self, cards: int) -> None:
        """Wait until so many more cards are saved."""
        wanted = self.counts["cards"] + cards
        until = time.monotonic() + DEADLINE
        while self.counts["cards"] < wanted:
            assert time.monotonic() < until, self.counts
            time.sleep(0.01)

    def converge(self, subject: str) -> None:
        """Save one card, however often it takes: a caller who retries loses nothing."""
        token = self._deployment.fake_stripe.account.token()
        until = time.monotonic() + self._patience
        while (status := self._try(token, subject)) != 200:
            # Never a failure that is told as final: the card is good.
            assert status in (0, 409, 503), (subject, status, self.counts)
            assert time.monotonic() < until, (subject, status, self.counts)
            time.sleep(0.02)
        self.counts["cards"] += 1

    def _try(self, token: str, subject: str) -> int:
        """Send it once; returns the status, or 0 where no answer came."""
        urls = self._urls()
        if not urls:
            return 0
        try:
            answer = self._deployment.save(self._chance.choice(urls), token, subject)
        except Lost:
            self.counts["lost"] += 1
            return 0
        self.counts[str(answer.status)] += 1
        return answer.status
