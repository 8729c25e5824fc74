"""Runs `reconcile` and `import` on an instance of the fault tests, and prepares what they find."""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.account import Account
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.records import Customer
from sqlalchemy import update

from app.customers.pacer import Pacer
from app.customers.user import user_hash
from app.errors import StripeUnavailable
from app.reconciliation.finding import Finding
from app.reconciliation.import_file import Imported
from app.reconciliation.importing import Import
from app.reconciliation.left_cards import detach_left_cards
from app.reconciliation.open_attempts import settle_open_attempts
from app.reconciliation.paced_account import PacedAccount
from app.reconciliation.reconcile import Reconciliation
from app.storage.tables import refusals, users

PARTNER, ISSUER = "Acme", "https://acme.example/"
HOUR = 3600


def silent(_words: str) -> None:
    """Show no progress."""


def unpaced(instance: Instance) -> PacedAccount:
    """Return the account of an instance, without the pace."""
    return PacedAccount(instance.stripe, silent, Pacer(threading.Event(), 1e6))


def begin(
    instance: Instance,
    *,
    dry: bool = False,
    delete: bool = False,
    installation: str | None = None,
    claim: Callable[[], None] | None = None,
    progress: Callable[[str], None] = silent,
) -> Iterator[Finding]:
    """Begin a run, as the command does."""

    def finish_work() -> Iterator[Finding]:
        yield from settle_open_attempts(instance.customers, instance.upkeep, dry_run=dry)
        yield from detach_left_cards(instance.replaced_cards, instance.upkeep, dry_run=dry)

    run = Reconciliation(
        instance.database,
        unpaced(instance),
        installation or instance.database.installation(),
        finish_work,
        dry_run=dry,
        delete=delete,
        progress=progress,
    )
    return run.run(claim)


def reconcile(instance: Instance, **options: Any) -> list[Finding]:
    """Run to the end."""
    return list(begin(instance, **options))


def summaries(findings: list[Finding]) -> list[tuple[str, str, bool]]:
    """Return findings without what they name."""
    return [(one.kind, one.outcome, one.is_left) for one in findings]


def kinds(findings: list[Finding]) -> list[str]:
    """Return the kinds of findings."""
    return [one.kind for one in findings]


def hash_of(instance: Instance, subject: str) -> bytes:
    """Return the hash of a user of the one partner."""
    return user_hash(instance.database.installation(), PARTNER, ISSUER, subject)


def stray(
    account: Account,
    installation: str = "",
    user: str = "",
    *,
    age: int = HOUR,
    acknowledged: int | None = None,
    **more: str,
) -> str:
    """Put a customer on the account that no row knows.

    Args:
        account: where.
        installation: for its metadata.
        user: for its metadata: a hash in hexadecimal, or a row's id.
        age: seconds since it was created.
        acknowledged: seconds since its last attempt began; None to leave it out.
        more: further metadata.
    """
    now = int(time.time())
    metadata = {"coord_installation": installation, "coord_user": user, **more}
    if acknowledged is not None:
        metadata["coord_started"] = str(now - acknowledged)
    metadata = {name: value for name, value in metadata.items() if value}
    one = Customer(f"cus_{secrets.token_hex(7)}", now - age, None, metadata, "tok_visa")
    account.customers[one.id] = one
    return one.id


def stray_of(instance: Instance, subject: str = "user-1", **options: Any) -> str:
    """Put a customer of a user on the account that no row knows."""
    user = hash_of(instance, subject).hex()
    return stray(instance.fake_stripe.account, instance.database.installation(), user, **options)


def mark_as_version_1(instance: Instance, customer_id: str, row_id: int) -> None:
    """Set the metadata of a customer as version 1.0 wrote it."""
    metadata = instance.fake_stripe.account.customers[customer_id].metadata
    metadata.pop("coord_started", None)
    metadata["coord_user"] = str(row_id)


def forget_row(instance: Instance, subject: str = "user-1") -> None:
    """Delete a user's row, as a restored backup lacks it."""
    row = instance.row(subject)
    with instance.database.writing() as connection:
        connection.execute(refusals.delete().where(refusals.c.user_id == row.id))
        connection.execute(users.delete().where(users.c.id == row.id))


def hide_subjects(instance: Instance) -> None:
    """Make rows as they are after a rebuild: identified by their hash only."""
    with instance.database.writing() as connection:
        connection.execute(update(users).values(issuer_id=None, subject=None))


def line(customer_id: str, subject: str = "user-1", **more: str) -> bytes:
    """Return a line to be imported."""
    members = {"issuer": ISSUER, "subject": subject, "stripe_customer_id": customer_id, **more}
    return json.dumps(members).encode() + b"\n"


def import_lines(
    instance: Instance, *lines: bytes, progress: Callable[[str], None] = silent
) -> list[Imported]:
    """Import lines, as the command does."""
    instance.user()
    return list(Import(instance.database, unpaced(instance), progress).run(lines))


def leave_open(instance: Instance, fake_stripe: FakeStripe, subject: str = "user-1") -> str:
    """Save a card that Stripe takes, without ever answering."""
    token = fake_stripe.account.token()
    fake_stripe.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(token, subject)
    fake_stripe.heal()
    instance.let_leases_expire()
    return token
