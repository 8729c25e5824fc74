"""Users who save card after card, and what each request was answered."""

import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from faults.deployment import DEADLINE, Deployment

CLIENTS = 24
# How long a caller waits before it sends a request again, in seconds: less than `Retry-After`, so
# that the figures show the service's own time.
PAUSE = 0.2


@dataclass(frozen=True)
class Response:
    """The status of one request, and when it came, by `time.monotonic`."""

    at: float
    status: int


@dataclass(frozen=True)
class Card:
    """When a card was first sent, and when it was saved, by `time.monotonic`."""

    sent: float
    saved: float


class Load:
    """Callers at work from the start until `end`.

    Args:
        deployment: the service's surroundings.
        url: of the service.
        name: distinguishes the users from those of other loads.
        allowed: statuses that a request may be answered.

    Attributes:
        responses: to all requests.
        cards: all that were saved.
        customers: by subject, the customers that its 200s have named.
    """

    def __init__(
        self, deployment: Deployment, url: str, name: str, allowed: tuple[int, ...]
    ) -> None:
        self._deployment, self._url, self._name, self._allowed = deployment, url, name, allowed
        self._over = threading.Event()
        self.responses: list[Response] = []
        self.cards: list[Card] = []
        self.customers: defaultdict[str, set[str]] = defaultdict(set)
        self._threads = ThreadPoolExecutor(CLIENTS)
        self._running = [self._threads.submit(self._save_all, number) for number in range(CLIENTS)]

    def end(self) -> None:
        """Stop sending new cards, and wait until each of those sent is saved."""
        self._over.set()
        for one in self._running:
            one.result(DEADLINE)
        self._threads.shutdown()

    def wait_for_saves(self, cards: int) -> None:
        """Wait until so many more cards are saved."""
        wanted, until = len(self.cards) + cards, time.monotonic() + DEADLINE
        while len(self.cards) < wanted:
            assert time.monotonic() < until, self.statuses()
            time.sleep(0.05)

    def statuses(self) -> dict[str, int]:
        """Return how many requests were answered each status."""
        counts = Counter(str(response.status) for response in self.responses)
        return dict(sorted(counts.items()))

    def _save_all(self, number: int) -> None:
        card = 0
        while not self._over.is_set():
            # A new user for every second card, so that creations and replacements are interrupted.
            self._save(f"{self._name}-{number}-{card // 2}")
            card += 1

    def _save(self, subject: str) -> None:
        token = self._deployment.fake_stripe.account.token()
        sent = time.monotonic()
        while True:
            answer = self._deployment.save(self._url, token, subject)
            now = time.monotonic()
            self.responses.append(Response(now, answer.status))
            assert answer.status in self._allowed, (subject, answer)
            if answer.status == 200:
                self.customers[subject].add(answer.customer_id)
                self.cards.append(Card(sent, now))
                return
            if answer.status not in (409, 503):
                return
            assert now < sent + DEADLINE, (subject, answer)
            time.sleep(PAUSE)
