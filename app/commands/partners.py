"""`coord-users partner`: partners, and the issuers of their users' JWTs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.shared import open_database, plainly, print_table, utc
from app.errors import ConfigurationError
from app.strict_json import InvalidJson, Json, parse

if TYPE_CHECKING:
    from app.identity.jwks import KeySource
    from app.identity.keys import Keys

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SOURCES = "--jwks-url, --jwks-file or --shared-secret-file"


@click.group()
def partner() -> None:
    """Partners and the issuers of their users' JWTs."""


def _registration(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option("--shared-secret-file", type=FILE, help="A secret for HS256, one on a line."),
        click.option("--jwks-file", type=FILE, help="The issuer's JWK Set."),
        click.option("--jwks-url", help="Its JWK Set, or OpenID Connect discovery document."),
        click.option("--issuer", required=True, metavar="ISS", help="The JWTs' `iss`."),
        click.argument("name"),
    ):
        command = decorate(command)
    return command


@partner.command()
@_registration
@click.option(
    "--audience",
    "audiences",
    multiple=True,
    required=True,
    metavar="AUD",
    help="One that may be in the JWTs' `aud`; may be repeated.",
)
@click.option("--test", "is_test", is_flag=True, help="All its JWTs are test JWTs.")
@plainly
def add(name: str, issuer: str, audiences: tuple[str, ...], is_test: bool, **sources: Any) -> None:
    """Register an issuer for a partner, and the partner where it is new."""
    source = _source(**sources)
    if source is None:
        raise click.UsageError(f"Give one of {SOURCES}.")
    from app.identity import registry

    database = open_database()
    keys = registry.add_registration(database, name, issuer, audiences, source, is_test=is_test)
    _report(keys)
    click.echo(f"Registered {issuer} for {name}.", err=True)


@partner.command()
@_registration
@click.option(
    "--audience",
    "audiences",
    multiple=True,
    metavar="AUD",
    help="Replaces all that there were; may be repeated.",
)
@click.option("--test/--no-test", "is_test", default=None, help="All its JWTs are test JWTs.")
@plainly
def update(
    name: str, issuer: str, audiences: tuple[str, ...], is_test: bool | None, **sources: Any
) -> None:
    """Change what is given of a registration, and nothing else; print what changed."""
    source = _source(**sources)
    if not audiences and source is None and is_test is None:
        raise click.UsageError(f"Give --audience, --test, --no-test, {SOURCES}.")
    from app.identity import registry

    before, after, keys = registry.update_registration(
        open_database(), name, issuer, audiences=audiences or None, source=source, is_test=is_test
    )
    if keys:
        _report(keys)
    old, new = _shown(before), _shown(after)
    changes = [f"{what}: {old[what]} -> {new[what]}" for what in old if old[what] != new[what]]
    if _source_of(before) != _source_of(after) and old["keys"] == new["keys"]:
        changes.append(f"keys: another {new['keys']}")
    click.echo("\n".join(changes)) if changes else click.echo("Nothing has changed.", err=True)


@partner.command()
@click.argument("name")
@plainly
def disable(name: str) -> None:
    """Refuse a partner's access keys and JWTs, within seconds; its users are kept."""
    from app.identity import registry

    registry.set_disabled(open_database(), name, disabled=True)
    click.echo(f"{name} is disabled.", err=True)


@partner.command()
@click.argument("name")
@plainly
def enable(name: str) -> None:
    """Accept a disabled partner's access keys and JWTs again."""
    from app.identity import registry

    registry.set_disabled(open_database(), name, disabled=False)
    click.echo(f"{name} is enabled.", err=True)


@partner.command("list")
@plainly
def list_registrations() -> None:
    """List partners and their issuers."""
    from sqlalchemy import select

    from app.storage.tables import issuers, partners

    query = (
        select(partners.c.name, partners.c.disabled_at, issuers)
        .join_from(partners, issuers)
        .order_by(partners.c.name, issuers.c.id)
    )
    with open_database().reading() as connection:
        print_table(
            {
                "partner": row.name,
                "issuer": row.issuer,
                **_shown(row),
                "created": utc(row.created_at),
                "disabled": utc(row.disabled_at),
            }
            for row in connection.execute(query)
        )


def _source(
    jwks_url: str | None, jwks_file: Path | None, shared_secret_file: Path | None
) -> "KeySource | None":
    """Return where the keys come from; None where no option says it."""
    given = [one for one in (jwks_url, jwks_file, shared_secret_file) if one is not None]
    if not given:
        return None
    if len(given) > 1:
        raise click.UsageError(f"Give only one of {SOURCES}.")
    from app.identity.jwks import KeySource

    # The last newline is the editor's.
    secret = shared_secret_file.read_bytes().strip() if shared_secret_file else None
    return KeySource(jwks_url, _json(jwks_file) if jwks_file else None, secret)


def _json(path: Path) -> Json:
    try:
        return parse(path.read_bytes())
    except InvalidJson as error:
        raise ConfigurationError(f"{path} {error}") from None


def _source_of(row: Any) -> "KeySource":
    from app.identity.jwks import KeySource

    return KeySource(row.jwks_url, row.jwks, row.shared_secret)


def _shown(row: Any) -> dict[str, str]:
    """Return what people may see of a row of `issuers`: nothing secret."""
    from app.identity.issuers import audiences_of

    return {
        "audiences": " ".join(audiences_of(row)),
        "keys": str(_source_of(row)),
        "test": "yes" if row.is_test else "no",
    }


def _report(keys: "Keys") -> None:
    for key in keys.passed_over:
        click.echo(f"Not used: {key}.", err=True)
