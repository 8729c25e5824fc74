"""`coord-users reconcile` and `installations`: the database and Stripe are made to agree."""

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import click

from app.commands.shared import plainly, print_table, progress, read_settings, utc

if TYPE_CHECKING:
    from app.reconciliation.finding import Finding


@click.command()
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would be done.")
@click.option("--delete", is_flag=True, help="Delete a user's second customer.")
@click.option(
    "--from",
    "rebuilt",
    metavar="INSTALLATION",
    help="Rebuild a database without users from this installation's customers.",
)
@plainly
def reconcile(dry_run: bool, delete: bool, rebuilt: str | None) -> None:
    """Settle open attempts and compare users with Stripe. Exit 1 if anything is left.

    Customers that the database does not know become their users' customers. Nothing is deleted
    without --delete, and then only a customer whose user has another one that lives.
    """
    from app.customers.replaced_cards import ReplacedCards
    from app.reconciliation.installations import claim_installation
    from app.reconciliation.left_cards import detach_left_cards
    from app.reconciliation.open_attempts import settle_open_attempts
    from app.reconciliation.paced_account import PacedAccount
    from app.reconciliation.reconcile import Reconciliation
    from app.service import make_rule, open_database, open_stripe

    settings = read_settings()
    with closing(open_stripe(settings)) as stripe, closing(open_database(settings)) as database:
        rule = make_rule(settings, database, stripe)

        def finish_work() -> "Iterator[Finding]":
            yield from settle_open_attempts(rule.customers, rule.upkeep, dry_run=dry_run)
            cards = ReplacedCards(rule.upkeep, stripe, settings.stripe_timeout)
            yield from detach_left_cards(cards, rule.upkeep, dry_run=dry_run)

        def claim() -> None:
            if rebuilt is not None and not dry_run:
                claim_installation(database, rebuilt)

        run = Reconciliation(
            database,
            PacedAccount(stripe, progress),
            rebuilt or rule.installation,
            finish_work,
            dry_run=dry_run,
            delete=delete,
            progress=progress,
        )
        left = 0
        for finding in run.run(None if rebuilt is None else claim):
            left += finding.is_left
            click.echo(f"{finding.kind}\t{finding.what}\t{finding.outcome}")
    progress(f"{left} left")
    sys.exit(1 if left else 0)


@click.command()
@plainly
def installations() -> None:
    """List the installations that have customers at Stripe, that with the newest first.

    Needs no database.
    """
    from app.reconciliation.installations import list_installations
    from app.reconciliation.paced_account import PacedAccount
    from app.service import open_stripe

    with closing(open_stripe(read_settings())) as stripe:
        print_table(
            {"installation": one.id, "customers": one.customers, "newest": utc(one.newest)}
            for one in list_installations(PacedAccount(stripe, progress), progress)
        )
