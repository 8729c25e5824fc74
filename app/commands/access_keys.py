"""`coord-users access-key`: the keys that partners' applications call with."""

import click

from app.commands.shared import open_database, plainly, print_table, utc


@click.group("access-key")
def access_key() -> None:
    """Access keys that partners' applications call with."""


@access_key.command()
@click.argument("partner")
@plainly
def create(partner: str) -> None:
    """Print a new access key. It cannot be shown again."""
    from app.identity import registry

    click.echo(registry.create_access_key(open_database(), partner))


@access_key.command("list")
@plainly
def list_keys() -> None:
    """List access keys by id; the keys themselves are not stored."""
    from sqlalchemy import select

    from app.storage.tables import access_keys, partners

    query = (
        select(partners.c.name, access_keys)
        .join_from(partners, access_keys)
        .order_by(access_keys.c.id)
    )
    with open_database().reading() as connection:
        print_table(
            {
                "id": row.id,
                "partner": row.name,
                "created": utc(row.created_at),
                "last_used": utc(row.last_used_at),
                "revoked": utc(row.revoked_at),
            }
            for row in connection.execute(query)
        )


@access_key.command()
@click.argument("key_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@plainly
def revoke(key_id: int) -> None:
    """Revoke an access key; within seconds no process accepts it any more."""
    from app.identity import registry

    registry.revoke_access_key(open_database(), key_id)
    click.echo(f"Access key {key_id} is revoked.", err=True)
