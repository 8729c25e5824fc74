"""The events of the model: any interleaving of requests, crashes, faults, losses and operators."""

import hashlib
import threading
from functools import partial

from faults.account import Account
from faults.call_faults import FAULTS, LATE, Fault
from faults.model_checks import Checks
from faults.model_state import PROCESSES, USERS, WELL, Asked
from faults.simulated import ENDS, STOPS, Running
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)
from support.lost_databases import read_all, write_all
from support.reconciling import import_lines, kinds, line, reconcile, stray

from app.customers.pacer import Pacer
from app.customers.read_user import StoredCustomers
from app.errors import (
    Misconfigured,
    TokenRefused,
)

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
CALL = ("call.before", "call.after")


class Model(Checks):
    """What can happen to the processes, users and cards."""

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
        instance = self.instances[process % PROCESSES]
        self.account.sent_by(subject, token)
        user = instance.user(subject, email)
        is_at_peace = not (faults or stop or end or email == "no address") and self.is_free(subject)
        before = self.row(subject)
        self.count("requests")
        calls = len(self.network.calls)
        asked = Asked(
            subject,
            token,
            Running(
                instance, lambda: instance.customers.save_card(user, token), list(faults), stop, end
            ),
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
        instance = self.instances[process % PROCESSES]
        for row in instance.upkeep.expired(10, all_of_them=True):
            if instance not in self.instances:
                return  # it ended at the one before
            work = Running(
                instance,
                partial(instance.customers.complete, row.id, row.attempt_id, row.partner_id),
                list(faults),
                stop,
                end,
            )
            self.go_on(Asked("", "", work))

    @rule(process=numbers, faults=faults, stop=st.sampled_from(["", *CALL]), end=ended)
    def detach(self, process: int, faults: list[Fault], stop: str, end: str) -> None:
        """A completer detaches the cards that were replaced."""
        instance = self.instances[process % PROCESSES]
        pacer = Pacer(threading.Event(), 1e6)

        def work_through() -> str:
            instance.replaced_cards.detach(pacer)
            return "done"

        work = Running(instance, work_through, list(faults), stop, end)
        self.count("rounds of detaching")
        self.go_on(Asked("", "", work))

    @rule(process=numbers)
    def kill(self, process: int) -> None:
        """A process ends, with all that it was at, and another takes its place."""
        self.restart(self.instances[process % PROCESSES])

    @rule()
    def leases_end(self) -> None:
        self.instances[0].let_leases_expire()

    @precondition(lambda self: self.network.late)
    @rule(number=numbers)
    def arrive(self, number: int) -> None:
        """A call that was sent long ago arrives, or comes to its end at Stripe."""
        self.network.arrive(number % len(self.network.late))

    @rule(subject=st.sampled_from(USERS))
    def delete(self, subject: str) -> None:
        """Delete a customer at Stripe, as an operator could."""
        row = self.row(subject)
        if row is not None and row.stripe_customer_id:
            self.account.delete(row.stripe_customer_id)

    @rule(hours=st.sampled_from([25, 25, 12, 0.1]), are_kept=st.booleans())
    def time_passes(self, hours: float, are_kept: bool) -> None:
        """No call and no process lives as long; Stripe may forget keys that are old enough."""
        while self.network.late:
            self.network.arrive(0)
        for instance in list(self.instances):
            self.restart(instance)
        self.instances[0].let_leases_expire()
        self.instances[0].grow_old(hours * 3600)
        if hours > 24 and not are_kept:
            self.account.forget_keys()

    @rule(process=numbers, dry=st.booleans())
    def reconcile(self, process: int, dry: bool) -> None:
        """An operator compares: there is never anything to adopt or to delete."""
        instance = self.instances[process % PROCESSES]
        calls = len(self.network.calls)
        before = [self.row(subject) for subject in USERS]
        found = kinds(reconcile(instance, dry=dry))
        assert set(found) <= {"open_attempt", "dangling"}, found
        if dry:
            assert {call.request.method for call in self.network.calls[calls:]} <= {"GET"}
            assert before == [self.row(subject) for subject in USERS]

    @rule(process=numbers, subject=st.sampled_from(USERS))
    def read(self, process: int, subject: str) -> None:
        """A system reads which customer a user has."""
        instance = self.instances[process % PROCESSES]
        calls = len(self.network.calls)
        found = StoredCustomers(instance.database, instance.installation).get(
            instance.user(subject)
        )
        row = self.row(subject)
        assert (found and found.id) == (row and row.stripe_customer_id)
        assert len(self.network.calls) == calls

    @rule(process=numbers, subject=st.sampled_from(USERS), faults=faults, stop=held_up, end=ended)
    def forget(self, process: int, subject: str, faults: list[Fault], stop: str, end: str) -> None:
        """An operator forgets a user."""
        row, instance = self.row(subject), self.instances[process % PROCESSES]
        if row is None:
            return
        self.forgotten.add(subject)
        work = Running(
            instance, partial(instance.forgetting.forget, row.id), list(faults), stop, end
        )
        self.count("forgets")
        self.go_on(Asked("", "", work))

    @rule(process=numbers, subject=st.sampled_from(USERS))
    def take_over_customer(self, process: int, subject: str) -> None:
        """An operator imports a customer that exists already, of a user who has none."""
        if not self.is_free(subject) or self.row(subject) is not None:
            return
        customer_id = stray(self.account)
        [done] = import_lines(self.instances[process % PROCESSES], line(customer_id, subject))
        assert not done.is_left, done
        assert self.row(subject).stripe_customer_id == customer_id
        self.count("imports")

    @rule(process=numbers, subject=st.sampled_from(USERS), card=numbers)
    def save_with_the_wrong_key(self, process: int, subject: str, card: int) -> None:
        """For a while the key is that of another account: nothing that is stored changes."""
        row = self.row(subject)
        if row is None or not row.stripe_customer_id or not self.is_free(subject):
            return
        instance, user = self.instances[process % PROCESSES], self.instances[0].user(subject)
        token = self.token(subject, card or "good")
        living = [one.id for one in self.account.live()]
        self.network.account = Account()
        work = Running(instance, lambda: instance.customers.save_card(user, token), [])
        work.go_on(self.network)
        self.network.account = self.account
        outcome = work.outcome
        if isinstance(outcome, str):
            assert outcome == row.stripe_customer_id
            assert row.token_hash == hashlib.sha256(token.encode()).digest()
        else:
            assert isinstance(outcome, Misconfigured | TokenRefused), repr(outcome)
        assert self.row(subject).stripe_customer_id == row.stripe_customer_id
        assert [one.id for one in self.account.live()] == living
        self.count("wrong keys")

    @precondition(lambda self: self.is_at_rest())
    @rule()
    def back_up(self) -> None:
        self.backup = read_all(self.instances[0].database)

    @precondition(lambda self: self.backup is not None and self.is_at_rest())
    @rule(process=numbers)
    def restore(self, process: int) -> None:
        """An operator restores the backup, and reconciles before any user comes."""
        assert self.backup is not None
        living = {one.id for one in self.account.live()}
        instance = self.instances[process % PROCESSES]
        write_all(instance.database, self.backup)
        found = kinds(reconcile(instance))
        assert set(found) <= {"adopted", "dangling"}, found
        assert {one.id for one in self.account.live()} == living
        stored = {row.stripe_customer_id for row in map(self.row, USERS) if row is not None}
        assert living <= stored
        # The backup may not know the latest card, and knows users who were forgotten since.
        instance.change(token_hash=None)
        for subject in USERS:
            row = self.row(subject)
            self.known.pop(subject, None)
            if row is not None and row.stripe_customer_id:
                self.known[subject] = row.stripe_customer_id
        self.count("restores")
