"""Any interleaving of requests, crashes, faults and restarts, held against what always holds."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from faults.account import Account
from faults.auditor import Acknowledged, audit, living
from faults.house import Crash, House
from faults.scripted import FAULTS, LATE, Fault
from faults.simulated import ENDS, STOPS, Clock, Network, Running
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.reconciling import kinds, reconcile

from app.errors import (
    CardRefused,
    StripeUnavailable,
    TokenRefused,
    UpdateInProgress,
)
from app.storage.database import Database
from app.storage.tables import refusals, users

USERS = ("user-1", "user-2")
PROCESSES = 2
WELL = Fault()
REUSABLE = "tok_visa"

one_fault = st.sampled_from([LATE, *FAULTS.values()])
faults = st.one_of(
    st.just([]),
    st.lists(st.one_of(st.just(WELL), one_fault), max_size=3),
    # A bad day, that a request does not outlast.
    one_fault.map(lambda fault: [fault] * 4),
)
held_up = st.one_of(st.just(""), st.sampled_from(STOPS))
ended = st.one_of(st.just(""), st.sampled_from(["call.after", "accept.before", *ENDS]))
numbers = st.integers(0, 5)


@dataclass
class Asked:
    """A request of a user's, and what is at work on it."""

    subject: str
    token: str
    running: Running


class Model(RuleBasedStateMachine):
    """Some processes, users and cards.

    Args:
        databases: the same one, opened for each process.
        count: told of each step, answer and fault.
    """

    def __init__(self, databases: list[Database], count: Callable[[str], None]) -> None:
        super().__init__()
        self.count = count
        self.account = Account()
        self.network = Network(self.account)
        self.houses = [self.house(database) for database in databases]
        with self.houses[0].database.writing() as connection:
            connection.execute(refusals.delete())
            connection.execute(users.delete())
        self.network.on_call = self.nothing_is_held
        self.cards: dict[str, list[str]] = {subject: [REUSABLE] for subject in USERS}
        self.asleep: list[Asked] = []
        self.known: dict[str, str] = {}

    def house(self, database: Database) -> House:
        """Start a process; what it has compiled for its database is the only thing it is given."""
        double: Any = self
        # Leases end when the test lets them, not when the machine is slow.
        return House("", double, network=self.network, database=database, lease=1e6)

    # What happens.

    @rule(
        process=numbers,
        subject=st.sampled_from(USERS),
        card=st.one_of(st.sampled_from(["good", "good", "declined"]), numbers),
        email=st.sampled_from([None, "one@example.com", "two@example.com", "no address"]),
        faults=faults,
        stop=held_up,
        end=ended,
    )
    def save(
        self,
        process: int,
        subject: str,
        card: str | int,
        email: str | None,
        faults: list[Fault],
        stop: str,
        end: str,
    ) -> None:
        """A user sends a new card, or an old one again, to one of the processes."""
        token = self.token(subject, card)
        house = self.houses[process % PROCESSES]
        user = house.user(subject, email)
        is_at_peace = not (faults or stop or end or email == "no address") and self.is_free(subject)
        before = self.row(subject)
        self.count("requests")
        calls = len(self.network.calls)
        asked = Asked(
            subject,
            token,
            Running(house, lambda: house.customers.save_card(user, token), list(faults), stop, end),
        )
        self.go_on(asked)
        if is_at_peace:
            self.nothing_stood_in_its_way(asked, before, len(self.network.calls) - calls)

    @rule(process=numbers, subject=st.sampled_from(USERS), card=numbers)
    def save_with_no_trouble(self, process: int, subject: str, card: int) -> None:
        self.save(process, subject, card or "good", None, [], "", "")

    @precondition(lambda self: self.asleep)
    @rule(number=numbers)
    def wake(self, number: int) -> None:
        """A request that was held up goes on."""
        self.go_on(self.asleep.pop(number % len(self.asleep)))

    @rule(process=numbers, faults=faults, stop=held_up, end=ended)
    def complete(self, process: int, faults: list[Fault], stop: str, end: str) -> None:
        """A completer takes what is open."""
        house = self.houses[process % PROCESSES]
        for row in house.upkeep.expired(10, all_of_them=True):
            if house not in self.houses:
                return  # it ended at the one before
            work = Running(
                house,
                partial(house.customers.complete, row.id, row.attempt_id, row.partner_id),
                list(faults),
                stop,
                end,
            )
            self.go_on(Asked("", "", work))

    @rule(process=numbers)
    def kill(self, process: int) -> None:
        """A process ends, with all that it was at, and another takes its place."""
        self.restart(self.houses[process % PROCESSES])

    @rule()
    def leases_end(self) -> None:
        self.houses[0].let_leases_expire()

    @precondition(lambda self: self.network.late)
    @rule(number=numbers)
    def arrive(self, number: int) -> None:
        """A call that was sent long ago arrives, or comes to its end at Stripe."""
        self.network.arrive(number % len(self.network.late))

    @rule(subject=st.sampled_from(USERS))
    def delete(self, subject: str) -> None:
        """Somebody deletes a customer at Stripe."""
        row = self.row(subject)
        if row is not None and row.stripe_customer_id:
            self.account.delete(row.stripe_customer_id)

    @rule(hours=st.sampled_from([25, 25, 12, 0.1]), are_kept=st.booleans())
    def time_passes(self, hours: float, are_kept: bool) -> None:
        """No call and no process lives as long; Stripe may forget keys that are old enough."""
        while self.network.late:
            self.network.arrive(0)
        for house in list(self.houses):
            self.restart(house)
        self.houses[0].let_leases_expire()
        self.houses[0].grow_old(hours * 3600)
        if hours > 24 and not are_kept:
            self.account.forget_keys()

    @rule(process=numbers, dry=st.booleans())
    def reconcile(self, process: int, dry: bool) -> None:
        """An operator compares: there is never anything to adopt or to delete."""
        house = self.houses[process % PROCESSES]
        calls = len(self.network.calls)
        before = [self.row(subject) for subject in USERS]
        found = kinds(reconcile(house, dry=dry))
        assert set(found) <= {"open_attempt", "dangling"}, found
        if dry:
            assert {call.request.method for call in self.network.calls[calls:]} <= {"GET"}
            assert before == [self.row(subject) for subject in USERS]

    # What always holds.

    @invariant()
    def nobody_has_two_customers(self) -> None:
        assert all(len(ids) == 1 for ids in living(self.account).values()), living(self.account)

    @invariant()
    def stored_customer_changes_only_when_it_is_gone(self) -> None:
        for subject in USERS:
            row, known = self.row(subject), self.known.get(subject)
            stored = row.stripe_customer_id if row is not None else None
            if known is not None and stored != known:
                assert stored is not None
                assert self.account.customers[known].deleted, (subject, known, stored)
            if stored is not None:
                self.known[subject] = stored

    @invariant()
    def what_is_settled_is_true_at_stripe(self) -> None:
        """Its customer, its card, nobody's besides, and no rest of an attempt."""
        alive = {one.metadata["coord_user"]: one for one in self.account.live()}
        for subject in USERS:
            row = self.row(subject)
            if row is None or row.attempt_id is not None:
                continue
            assert row.attempt_token is row.lease_holder is row.attempt_email is None
            customer = alive.get(bytes(row.user_hash).hex())
            if customer is None:
                gone = row.stripe_customer_id
                assert gone is None or self.account.customers[gone].deleted
            else:
                assert customer.id == row.stripe_customer_id
                assert hashlib.sha256(customer.token.encode()).digest() == row.token_hash

    @invariant()
    def each_attempt_is_executed_once(self) -> None:
        """But for one whose customer was deleted: it is done again for the one that replaces it."""
        customers = self.account.customers
        done = [
            one.metadata["coord_attempt"]
            for one in self.account.ledger
            if one.status == 200 and not customers[one.customer_id].deleted
        ]
        assert len(done) == len(set(done)), self.account.ledger

    def teardown(self) -> None:
        """With all well again, the completer alone settles everything, and then cards are saved."""
        for house in list(self.houses):
            self.restart(house)
        while self.network.late:
            self.network.arrive(0)
        house = self.houses[0]
        assert house.complete() == 0
        found = audit(house.database.engine, self.account)
        found.dangling.clear()  # those that this test deleted itself
        assert found.is_clean, found
        acknowledged = {}
        for subject in USERS:
            token = self.account.token()
            customer_id = house.customers.save_card(house.user(subject), token)
            acknowledged[subject] = Acknowledged(token, customer_id)
        found = audit(house.database.engine, self.account, acknowledged)
        assert found.is_clean, found
        self.count("audits")
        for house in self.houses:
            house.__exit__()

    # How it is told.

    def token(self, subject: str, card: str | int) -> str:
        cards = self.cards[subject]
        if isinstance(card, int):
            return cards[card % len(cards)]
        cards.append(self.account.token("expired_card" if card == "declined" else None))
        return cards[-1]

    def row(self, subject: str) -> Any:
        with self.houses[0].database.reading() as connection:
            return connection.execute(
                users.select().where(users.c.subject == subject)
            ).one_or_none()

    def is_free(self, subject: str) -> bool:
        """Tell whether nothing is under way for a user, at Stripe or in another process."""
        row = self.row(subject)
        is_open = row is not None and row.attempt_id is not None
        return not (is_open or self.asleep or self.network.late)

    def restart(self, house: House) -> None:
        for asked in [one for one in self.asleep if one.running.house is house]:
            asked.running.kill(self.network)
            self.asleep.remove(asked)
        house.__exit__()
        self.houses[self.houses.index(house)] = self.house(house.database)
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
            self.restart(asked.running.house)
        elif asked.subject:
            self.count(str(getattr(outcome, "code", 200)))
            self.is_told_right(asked)
        else:
            self.count("completions")

    def is_told_right(self, asked: Asked) -> None:
        """A 200 is durable and the card the default; a refusal is of a card that is not saved."""
        outcome, token = asked.running.outcome, asked.token
        done = [one for one in self.account.ledger if one.status == 200]
        if isinstance(outcome, str):
            entries = [one for one in done if one.customer_id == outcome]
            assert token in {one.token for one in entries}
            customer = self.account.customers[outcome]
            assert customer.token == entries[-1].token
            row = self.row(asked.subject)
            assert row.stripe_customer_id == outcome or customer.deleted
        elif isinstance(outcome, CardRefused):
            assert self.account.tokens[token] is not None
            assert token not in {one.token for one in done}
        elif isinstance(outcome, TokenRefused):
            assert outcome.code == "token_already_used"
            assert token in self.account.used
            row = self.row(asked.subject)
            customer = self.account.customers[row.stripe_customer_id]
            assert customer.deleted or customer.token != token
        else:
            assert isinstance(outcome, StripeUnavailable | UpdateInProgress), repr(outcome)

    def nothing_stood_in_its_way(self, asked: Asked, before: Any, calls: int) -> None:
        """On a good day all is told for certain, and one success is one call."""
        outcome = asked.running.outcome
        assert isinstance(outcome, str | CardRefused | TokenRefused), repr(outcome)
        hashed = hashlib.sha256(asked.token.encode()).digest()
        if before is not None and before.token_hash == hashed:
            assert (outcome, calls) == (before.stripe_customer_id, 0)
        elif before is None or not before.stripe_customer_id:
            assert calls == 1
        elif not self.account.customers[before.stripe_customer_id].deleted:
            assert calls == 1
            if isinstance(outcome, str):
                assert outcome == before.stripe_customer_id

    def nothing_is_held(self) -> None:
        """No connection to the database while Stripe is asked."""
        assert all(house.database.engine.pool.checkedout() == 0 for house in self.houses)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def simulated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait in earnest."""
    monkeypatch.setattr("app.customers.save_card.time", Clock())
    monkeypatch.setattr("app.customers.settle.time", Clock())


@pytest.fixture
def counts() -> Iterator[Callable[[str], None]]:
    """Give a way to count what is tried, and tell it at the end."""
    counted: Counter[str] = Counter()
    yield lambda what: counted.update([what])
    print(dict(counted))


def run_model(url: str, counts: Callable[[str], None], **options: Any) -> None:
    databases = [Database(url) for _ in range(PROCESSES)]
    run_state_machine_as_test(
        lambda: Model(databases, counts),
        settings=settings(
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            **options,
        ),
    )
    for database in databases:
        database.close()


def test_any_interleaving(url: str, counts: Callable[[str], None]) -> None:
    """A few hundred steps, the same at each run."""
    run_model(url, counts, derandomize=True, max_examples=20, stateful_step_count=20, database=None)


@pytest.mark.long
def test_many_interleavings(url: str, counts: Callable[[str], None]) -> None:
    """Some thousand steps, others at each run."""
    run_model(url, counts, max_examples=60, stateful_step_count=50)
