"""Compares what Stripe executed with what the database says. All findings must be none."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from faults import tally
from faults.account import Account
from sqlalchemy import Engine, select

from app.storage.tables import metadata, users


@dataclass
class Findings:
    """What does not agree.

    Attributes:
        duplicates: users with more than one live customer.
        orphans: live customers that no user's row names.
        dangling: users whose stored customer is not alive at Stripe.
        shared: customers that more than one user names, or that name another user.
        open: users whose attempt is not settled.
        tokens: places in the database where a raw token, or an attempt's rest, was left.
        cards: users whose default card is not the one the row, or the last 200, says, or cannot be
            charged.
        lost: acknowledged users whose row does not hold the acknowledged customer.
        strangers: cards of a user that are attached to another user's customer.
        loose: PaymentMethods that were made of a token and are attached to no customer.
    """

    duplicates: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)

    @property
    def by_kind(self) -> dict[str, list[str]]:
        """Return the lists themselves, by kind."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def counts(self) -> dict[str, int]:
        """Return how many there are of each kind."""
        return {kind: len(found) for kind, found in self.by_kind.items()}

    @property
    def is_clean(self) -> bool:
        """Return whether there are none."""
        return not any(self.counts.values())


@dataclass(frozen=True)
class Acknowledged:
    """The last 200 that a user got."""

    token: str
    customer_id: str


def audit(
    engine: Engine,
    account: Account,
    acknowledged: Mapping[str, Acknowledged] | None = None,
) -> Findings:
    """Compare; once all is settled, nothing may be found.

    Args:
        engine: of the service's database.
        account: Stripe's books.
        acknowledged: by subject, the last 200, where no later request may have changed anything.
    """
    with engine.connect() as connection:
        rows = connection.execute(select(users)).all()
    found = Findings()
    _customers(found, account, rows)
    _cards(found, account, rows, acknowledged or {})
    found.open += [row.subject for row in rows if row.attempt_id is not None]
    _remains(found, engine, account)
    _payment_methods(found, account, rows)
    tally.note(found.by_kind)
    return found


def living(account: Account) -> dict[str, list[str]]:
    """Return each user's live customers, by the user's hash in their metadata."""
    by_user = defaultdict(list)
    for customer in account.live():
        by_user[customer.metadata.get("coord_user", "nobody")].append(customer.id)
    return by_user


def _customers(found: Findings, account: Account, rows: Any) -> None:
    by_user = living(account)
    found.duplicates += [f"user {user}: {ids}" for user, ids in by_user.items() if len(ids) > 1]
    owners = defaultdict(list)
    for row in rows:
        if row.stripe_customer_id is not None:
            owners[row.stripe_customer_id].append(bytes(row.user_hash).hex())
    alive = {customer.id: customer for customer in account.live()}
    found.orphans += [one for one in alive if one not in owners]
    for customer_id, users_of_it in owners.items():
        if customer_id not in alive:
            found.dangling.append(f"user {users_of_it}: {customer_id}")
        elif users_of_it != [alive[customer_id].metadata.get("coord_user")]:
            found.shared.append(f"{customer_id}: {users_of_it}")


def _cards(
    found: Findings, account: Account, rows: Any, acknowledged: Mapping[str, Acknowledged]
) -> None:
    by_subject = {row.subject: row for row in rows}
    for row in rows:
        customer = account.customers.get(row.stripe_customer_id or "")
        if customer is None or customer.deleted:
            continue
        if row.token_hash is None:
            # Rebuilt from Stripe, which does not tell the token.
            continue
        if hashlib.sha256(customer.token.encode()).digest() != row.token_hash:
            found.cards.append(f"{row.subject}: {customer.token} is not the row's latest")
    for subject, last in acknowledged.items():
        row = by_subject.get(subject)
        if row is None or row.stripe_customer_id != last.customer_id:
            found.lost.append(f"{subject}: {last.customer_id}")
            continue
        if account.customers[last.customer_id].token != last.token:
            found.cards.append(f"{subject}: {last.token} was acknowledged last")


def _payment_methods(found: Findings, account: Account, rows: Any) -> None:
    """Look at what each customer has been given, beside its default too."""
    cards = account.payment_methods.by_id
    users_of = {row.subject: bytes(row.user_hash).hex() for row in rows}
    given = [(one.id, one.origin, one.customer) for one in cards.values() if one.customer]
    given += [(one.source, one.source, one.id) for one in account.live() if one.source]
    for name, origin, customer_id in given:
        customer = account.customers.get(customer_id)
        owner = customer.metadata.get("coord_user") if customer else None
        senders = {users_of.get(subject, owner) for subject in account.senders.get(origin, ())}
        made_for = cards[name].metadata.get("coord_user", owner) if name in cards else owner
        if owner is not None and (made_for != owner or (senders and owner not in senders)):
            found.strangers.append(f"{name}: {customer_id}")
    for one in cards.values():
        is_refused = one.decline is not None
        if one.origin != one.id and one.customer is None and not (one.is_spent or is_refused):
            found.loose.append(one.id)
    for customer in account.live():
        default = cards.get(customer.default_pm or "")
        if default is not None and default.customer != customer.id:
            found.cards.append(f"{customer.id}: {default.id} is not attached")


def _remains(found: Findings, engine: Engine, account: Account) -> None:
    """Look for raw tokens in all tables, and for what a settled row must not hold."""
    known = {*account.tokens, *account.used, *(one.token for one in account.ledger)}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                for name, value in row.items():
                    if _holds(value, known):
                        found.tokens.append(f"{table.name}.{name}")
                    elif (
                        table is users
                        and row["attempt_id"] is None
                        and name.startswith(("attempt_", "lease_", "step"))
                        and value is not None
                    ):
                        found.tokens.append(f"{row['subject']}: {name} is left")


def _holds(value: object, tokens: set[str]) -> bool:
    if isinstance(value, bytes | memoryview):
        text = bytes(value).decode("latin-1")
    elif isinstance(value, str):
        text = value
    elif isinstance(value, dict | list):
        text = str(value)
    else:
        return False
    return "tok_" in text and any(token in text for token in tokens)
