"""`coord-users import`: customers that exist at Stripe already become their users' customers."""

import sys
from contextlib import closing
from pathlib import Path

import click

from app.commands.shared import plainly, progress, read_settings


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@plainly
def import_customers(file: Path) -> None:
    """Take over customers that exist at Stripe already. Exit 1 if any line is left.

    Each line of FILE is a JSON object with `issuer`, `subject` and `stripe_customer_id`, and
    `partner` if several partners have the issuer. A line that is left is printed with the reason.
    To import a file twice changes nothing.
    """
    from app.reconciliation.importing import Import
    from app.reconciliation.paced_account import PacedAccount
    from app.service import open_database, open_stripe

    settings = read_settings()
    done = left = 0
    with (
        closing(open_stripe(settings)) as stripe,
        closing(open_database(settings)) as database,
        file.open("rb") as lines,
    ):
        run = Import(database, PacedAccount(stripe, progress), progress)
        for imported in run.run(lines):
            done += not imported.is_left
            left += imported.is_left
            if imported.is_left:
                click.echo(f"line {imported.number}\t{imported.outcome}")
    progress(f"{done} done, {left} left")
    sys.exit(1 if left else 0)
