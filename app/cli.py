"""The command `coord-users`. Results go to stdout, all else to stderr."""

import dataclasses
import gc
import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select

from app import checkup
from app.commands.access_keys import access_key
from app.commands.forget import forget
from app.commands.partners import partner
from app.commands.shared import print_table, utc
from app.config import MAX_WORKERS, Settings
from app.customers.reconcile import Reconciliation
from app.errors import ConfigurationError, Misconfigured, StorageUnavailable
from app.sandbox.sandbox import Sandbox
from app.sandbox.standin.limits import LIVE
from app.service import (
    create_app,
    make_rule,
    open_database,
)
from app.storage.database import Database
from app.storage.tables import issuers, users
from app.storage.tables import partners as partners_table
from app.stripe_account.account import OutcomeUnknown, StripeAccount
from app.telemetry import logs
from app.telemetry.metrics import Metrics
from app.web import serve as serving
from app.web.edge import Edge


def _plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Tell what is wrong in one line on stderr, and exit with 1."""

    @wraps(command)
    def plain(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from None
        except StorageUnavailable as error:
            raise click.ClickException(f"The database cannot be used: {error.inner}") from None
        except (OutcomeUnknown, Misconfigured) as error:
            raise click.ClickException(f"Stripe cannot be used: {error}") from None

    return plain


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coord-users")
def main() -> None:
    """Coord's Users API: one lasting Stripe customer for each user."""
    logs.configure(os.environ.get("LOG_FORMAT", "json"))


main.add_command(partner)
main.add_command(access_key)
main.add_command(forget)


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
@_plainly
def sandbox(port: int, keep: Path | None, stripe_limits: bool) -> None:
    """Everything on this machine, with a stand-in for Stripe and nothing to set up."""
    logs.configure("console")
    with Sandbox(port, keep, LIVE if stripe_limits else None) as running:
        running.run(ready=lambda: click.echo(running.introduction()))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help=":: takes IPv4 as well.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--uds",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="A Unix domain socket to listen at, in the place of host and port.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    help="Processes that serve.  [default: WEB_CONCURRENCY, else 1]",
)
@_plainly
def serve(host: str, port: int, uds: Path | None, workers: int | None) -> None:
    """Run the service."""
    # What is built until then lasts: there is no garbage to collect.
    gc.disable()
    settings = _settings()
    settings.require_stripe_key()
    if workers is not None:
        settings = dataclasses.replace(settings, workers=workers)
    serving.serve(_service, settings, host, port, uds)


def _service(metrics: Metrics) -> Edge:
    """Build the service from the settings as they are now: files of secrets may have changed."""
    return create_app(Settings.from_environ(os.environ), metrics=metrics)


@main.command()
@_plainly
def migrate() -> None:
    """Bring the database's schema up to date."""
    database = Database(_settings().database_url)
    database.migrate()
    click.echo("The database is up to date.", err=True)


@main.command("users")
@click.option(
    "--format", "shape", type=click.Choice(["table", "jsonl"]), default="table", show_default=True
)
@_plainly
def list_users(shape: str) -> None:
    """List users and their Stripe customers."""
    query = (
        select(
            partners_table.c.name.label("partner"),
            issuers.c.issuer,
            users.c.subject,
            users.c.stripe_customer_id,
            users.c.last_updated,
        )
        .join_from(users, issuers)
        .join(partners_table)
        .order_by(users.c.id)
    )
    with _database().reading() as connection:
        found = connection.execution_options(yield_per=1000).execute(query).mappings()
        rows = ({**row, "last_updated": utc(row["last_updated"])} for row in found)
        print_table(rows) if shape == "table" else _lines(rows)


@main.command()
@click.option("--dry-run", is_flag=True, help="Tell what would be repaired; change nothing.")
@_plainly
def reconcile(dry_run: bool) -> None:
    """Settle what was left open, and compare users with Stripe. Exit 1 if anything is left."""
    settings = _settings()
    settings.require_stripe_key()
    database = open_database(settings)
    stripe = StripeAccount(settings.stripe_secret_key, settings.stripe_api_base)
    rule = make_rule(settings, database, stripe)
    run = Reconciliation(
        rule.customers,
        rule.upkeep,
        database,
        stripe,
        rule.installation,
        dry_run=dry_run,
        progress=lambda words: click.echo(words, err=True),
    )
    left = 0
    for finding in run.run():
        left += finding.is_left
        click.echo(f"{finding.kind}\t{finding.what}\t{finding.outcome}")
    click.echo(f"{left} left", err=True)
    sys.exit(1 if left else 0)


@main.command()
@_plainly
def check() -> None:
    """Tell what is wrong with the configuration. Exit 1 if anything is."""
    troubles = 0
    for result in checkup.check(_settings()):
        troubles += bool(result.trouble)
        click.echo(f"{result.what}\t{result.trouble or result.state}")
    sys.exit(1 if troubles else 0)


def _settings() -> Settings:
    settings = Settings.from_environ(os.environ)
    logs.configure(settings.log_format)
    return settings


def _database() -> Database:
    return open_database(_settings())


def _lines(rows: Iterable[Any]) -> None:
    for row in rows:
        click.echo(json.dumps(dict(row)))
