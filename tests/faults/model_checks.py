"""What holds after each step of the model, for each answer, and at the end."""

import hashlib
from dataclasses import replace
from typing import Any

from faults import tally
from faults.auditor import Acknowledged, audit, living
from faults.model_state import MAKE, MOST_CALLS, REUSABLE, USERS, Asked, Books
from hypothesis.stateful import (
    invariant,
)

from app.errors import (
    CardRefused,
    StripeUnavailable,
    TokenRefused,
    UpdateInProgress,
)

# A PaymentMethod that is used up, or that the account does not have.
LOST = ("token_refused", "resource_missing")


class Checks(Books):
    """The checks of the model."""

    @invariant()
    def nobody_has_two_customers(self) -> None:
        assert all(len(ids) == 1 for ids in living(self.account).values()), living(self.account)

    @invariant()
    def stored_customer_changes_only_when_it_is_gone(self) -> None:
        for subject in USERS:
            row, known = self.row(subject), self.known.get(subject)
            stored = row.stripe_customer_id if row is not None else None
            if known is not None and stored != known:
                assert stored is not None or subject in self.forgotten
                assert self.account.customers[known].deleted, (subject, known, stored)
                del self.known[subject]
            if stored is not None:
                self.known[subject] = stored

    @invariant()
    def what_is_settled_is_true_at_stripe(self) -> None:
        """A settled row has its own customer and card, and no data of an attempt."""
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
                hashed = hashlib.sha256(customer.token.encode()).digest()
                assert row.token_hash in (None, hashed)

    @invariant()
    def each_attempt_is_executed_once(self) -> None:
        """But for one whose customer was deleted: it is done again for the one that replaces it."""
        done = [
            (one.metadata["coord_attempt"], one.path == MAKE, one.token in self.defaults())
            for one in self.account.ledger
            if one.status == 200
            and "coord_attempt" in one.metadata
            and not (one.customer_id and self.account.customers[one.customer_id].deleted)
        ]
        assert len(done) == len(set(done)), self.account.ledger

    def teardown(self) -> None:
        """With all well again, the completer alone settles everything, and then cards are saved."""
        for instance in list(self.instances):
            self.restart(instance)
        while self.network.late:
            self.network.arrive(0)
        instance = self.instances[0]
        assert instance.complete() == 0
        found = audit(instance.database.engine, self.account)
        found.dangling.clear()  # those that this test deleted itself
        found.loose.clear()
        assert found.is_clean, found
        acknowledged = {}
        for subject in USERS:
            token = self.account.token()
            self.account.sent_by(subject, token)
            customer_id = instance.customers.save_card(instance.user(subject), token)
            acknowledged[subject] = Acknowledged(token, customer_id)
        found = audit(instance.database.engine, self.account, acknowledged)
        # A PaymentMethod whose making was not answered for a day, or by a failure that Stripe
        # keeps, cannot be found again.
        assert self.route in ("token", "mixed") or not found.loose
        tally.count(tally.UNFINDABLE, len(found.loose))
        found.loose.clear()
        assert found.is_clean, found
        self.count("audits")
        for instance in self.instances:
            instance.__exit__()

    def check_answer(self, asked: Asked) -> None:
        """A 200 is durable and the card the default; a refusal is of a card that is not saved."""
        outcome, token = asked.running.outcome, asked.token
        origins = self.defaults()
        done = [
            replace(one, token=origins.get(one.token, one.token))
            for one in self.account.ledger
            if one.status == 200 and "/customers" in one.path and one.token
        ]
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
            is_by_pm = self.route != "source"
            assert outcome.code == "token_already_used" or (is_by_pm and outcome.code in LOST)
            assert token == REUSABLE or token in self.account.used
            row = self.row(asked.subject)
            customer = self.account.customers.get(row.stripe_customer_id)
            is_newest = customer and not customer.deleted and customer.token == token
            # A restored database does not know the latest card.
            assert not is_newest or row.token_hash is None
        else:
            assert isinstance(outcome, StripeUnavailable | UpdateInProgress), repr(outcome)

    def nothing_stood_in_its_way(self, asked: Asked, before: Any, calls: int) -> None:
        """On a good day all is told for certain, and one success is one call."""
        outcome = asked.running.outcome
        assert isinstance(outcome, str | CardRefused | TokenRefused), repr(outcome)
        hashed = hashlib.sha256(asked.token.encode()).digest()
        if before is not None and before.token_hash == hashed:
            assert (outcome, calls) == (before.stripe_customer_id, 0)
        elif self.route != "source":
            assert not isinstance(outcome, str) or calls <= MOST_CALLS + 2
        elif before is None or not before.stripe_customer_id:
            assert calls == 1
        elif not self.account.customers[before.stripe_customer_id].deleted:
            assert calls == 1
            if isinstance(outcome, str):
                assert outcome == before.stripe_customer_id

    def nothing_is_held(self) -> None:
        """No connection to the database while Stripe is asked."""
        assert all(instance.database.engine.pool.checkedout() == 0 for instance in self.instances)  # type: ignore[attr-defined]
