"""What the model knows: its processes, users and cards, and what runs at the moment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faults.account import Account
from faults.call_faults import Fault
from faults.instance import Crash, Instance
from faults.simulated import Network, Running
from hypothesis.stateful import (
    RuleBasedStateMachine,
)
from support.lost_databases import Rows
from support.reconciling import hash_of

from app.customers.steps import Cards
from app.storage.database import Database
from app.storage.tables import refusals, users

USERS = ("user-1", "user-2")
PROCESSES = 2
WELL = Fault()
MAKE = "/v1/payment_methods"
REUSABLE = "tok_visa"
# For one success, at most: a token becomes a PaymentMethod, is attached, and made the default.
MOST_CALLS = 3
# How each process saves tokens, by route.
CARDS: dict[str, tuple[Cards, Cards]] = {
    "source": ("source", "source"),
    "token": ("payment_method", "payment_method"),
    "pm": ("source", "source"),
    "mixed": ("source", "payment_method"),
}


@dataclass
class Asked:
    """A request of a user's, and what is at work on it."""

    subject: str
    token: str
    running: Running


class Books(RuleBasedStateMachine):
    """Some processes, users and cards, and what is known of them.

    Args:
        databases: the same one, opened for each process.
        count: called with the name of each step, answer and fault.
        route: how cards are sent and saved.
    """

    def __init__(self, databases: list[Database], count: Callable[[str], None], route: str) -> None:
        super().__init__()
        self.count = count
        self.route = route
        self.account = Account()
        if route in ("pm", "mixed"):
            self.account.sends = route  # type: ignore[assignment]
        self.network = Network(self.account)
        self.instances = [
            self.instance(database, cards)
            for database, cards in zip(databases, CARDS[route], strict=True)
        ]
        with self.instances[0].database.writing() as connection:
            connection.execute(refusals.delete())
            connection.execute(users.delete())
        self.network.on_call = self.nothing_is_held
        self.cards: dict[str, list[str]] = {subject: [REUSABLE] for subject in USERS}
        self.asleep: list[Asked] = []
        self.known: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.backup: Rows | None = None

    def instance(self, database: Database, cards: Cards) -> Instance:
        """Start a process; what it has compiled for its database is the only thing it is given."""
        fake_stripe: Any = self
        # Leases end when the test lets them, not when the machine is slow.
        return Instance(
            "", fake_stripe, network=self.network, database=database, lease=1e6, cards=cards
        )

    def token(self, subject: str, card: str | int) -> str:
        cards = self.cards[subject]
        if isinstance(card, int):
            return cards[card % len(cards)]
        cards.append(self.account.token("expired_card" if card == "declined" else None))
        return cards[-1]

    def row(self, subject: str) -> Any:
        instance = self.instances[0]
        instance.user()
        of_user = users.c.user_hash == hash_of(instance, subject)
        with instance.database.reading() as connection:
            return connection.execute(users.select().where(of_user)).one_or_none()

    def defaults(self) -> dict[str, str]:
        """Return the tokens behind the ids that can be made the default."""
        sources = {f"card_{one[-12:]}": one for one in (REUSABLE, *self.account.tokens)}
        made = {one.id: one.origin for one in self.account.payment_methods.by_id.values()}
        return {**sources, **made}

    def is_at_rest(self) -> bool:
        """Return whether nothing is under way for any user."""
        return all(self.is_free(subject) for subject in USERS)

    def is_free(self, subject: str) -> bool:
        """Return whether nothing is under way for a user, at Stripe or in another process."""
        row = self.row(subject)
        is_open = row is not None and row.attempt_id is not None
        return not (is_open or self.asleep or self.network.late)

    def restart(self, instance: Instance) -> None:
        for asked in [one for one in self.asleep if one.running.instance is instance]:
            asked.running.kill(self.network)
            self.asleep.remove(asked)
        instance.__exit__()
        number = self.instances.index(instance)
        self.instances[number] = self.instance(instance.database, CARDS[self.route][number])
        self.count("restarts")

    def go_on(self, asked: Asked) -> None:
        left = len(asked.running.faults)
        asked.running.go_on(self.network)
        for _ in range(left - len(asked.running.faults)):
            self.count("faults")
        outcome = asked.running.outcome
        if outcome is None:
            self.asleep.append(asked)
        elif isinstance(outcome, Crash):
            self.count("crashes")
            self.restart(asked.running.instance)
        elif asked.subject:
            self.count(str(getattr(outcome, "code", 200)))
            self.check_answer(asked)
        else:
            self.count("completions")

    def check_answer(self, asked: Asked) -> None:
        """Hold an answer against what Stripe did; see `faults.model_checks`."""
        raise NotImplementedError
