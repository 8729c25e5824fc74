"""`coord-users users`: who has which customer."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from app.commands.shared import open_database, plainly, print_table, utc

if TYPE_CHECKING:
    from sqlalchemy import Row


@click.command()
@click.option(
    "--format", "shape", type=click.Choice(["table", "jsonl"]), default="table", show_default=True
)
@click.option("--partner", metavar="NAME", help="Users of this partner.")
@click.option("--issuer", help="Users with this `iss`.")
@click.option("--subject", help="Users with this `sub`.")
@click.option("--customer", metavar="cus_...", help="The user with this Stripe customer.")
@plainly
def users(
    shape: str,
    partner: str | None,
    issuer: str | None,
    subject: str | None,
    customer: str | None,
) -> None:
    """List users and their Stripe customers.

    Shows also the code of the last refusal, and since when an attempt to save a card is open. A
    row that was rebuilt from Stripe shows no partner, issuer and subject until its user comes back,
    but --subject finds it.
    """
    from app.customers.listing import Filter, list_users

    rows = _cells(list_users(open_database(), Filter(partner, issuer, subject, customer)))
    if shape == "table":
        print_table(rows)
    else:
        for row in rows:
            click.echo(json.dumps(row))


def _cells(rows: "Iterator[Row[Any]]") -> Iterator[Mapping[str, object]]:
    for row in rows:
        yield {
            "id": row.id,
            "partner": row.partner,
            "issuer": row.issuer,
            "subject": row.subject,
            "stripe_customer_id": row.stripe_customer_id,
            "last_updated": utc(row.last_updated),
            "last_refusal": row.refusal and row.refusal["code"],
            "open_attempt_since": utc(row.attempt_started_at),
        }
