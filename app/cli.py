"""The command `coord-users`. Results go to stdout, all else to stderr.

A command imports what it needs when it runs, so that `--help` answers at once.
"""

import os
import sys
from contextlib import closing
from pathlib import Path

import click

from app.commands.access_keys import access_key
from app.commands.forget import forget
from app.commands.import_customers import import_customers
from app.commands.partners import partner
from app.commands.reconcile import installations, reconcile
from app.commands.serve import serve
from app.commands.shared import plainly, read_settings
from app.commands.users import users


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coord-users")
def main() -> None:
    """Coord's Users API: one lasting Stripe customer for each user."""
    from app.telemetry import logs

    # A terminal that has not all letters, as one in latin-1, shows the others as escapes.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    logs.configure(os.environ.get("LOG_FORMAT", "json"))


main.add_command(serve)
main.add_command(partner)
main.add_command(access_key)
main.add_command(forget)
main.add_command(users)
main.add_command(import_customers)
main.add_command(reconcile)
main.add_command(installations)


@main.command()
@click.option("--port", default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where users and customers survive until the next time; otherwise nothing does.",
)
@click.option(
    "--stripe-limits",
    is_flag=True,
    help="Refuse calls to the stand-in above Stripe's rate limits for live accounts.",
)
@plainly
def sandbox(port: int, keep: Path | None, stripe_limits: bool) -> None:
    """Everything on this machine, with a stand-in for Stripe and nothing to set up."""
    from app.sandbox.sandbox import Sandbox
    from app.sandbox.standin.limits import LIVE
    from app.telemetry import logs

    logs.configure("console")
    with Sandbox(port, keep, LIVE if stripe_limits else None) as running:
        running.run(ready=lambda: click.echo(running.introduction()))


@main.command()
@plainly
def migrate() -> None:
    """Bring the database's schema up to date."""
    from app.storage.database import Database

    with closing(Database(read_settings().database_url)) as database:
        database.migrate()
    click.echo("The database is up to date.", err=True)


@main.command()
@plainly
def check() -> None:
    """Check the configuration and report what is wrong. Exit 1 if anything is."""
    from app import checkup

    troubles = 0
    for result in checkup.check(read_settings()):
        troubles += bool(result.trouble)
        click.echo(f"{result.what}\t{result.trouble or result.state}")
    sys.exit(1 if troubles else 0)
