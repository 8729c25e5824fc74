"""What operators register: partners, the issuers of their users' JWTs, and access keys.

Each function raises `ConfigurationError` with a line that says what the operator must correct, and
`StorageUnavailable` if the database cannot be used.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from app.errors import ConfigurationError
from app.identity.credentials import KEY_PREFIX, hash_of
from app.identity.jwks import KeySource
from app.identity.jwts import LONGEST_ISSUER, is_plain
from app.identity.keys import Keys
from app.storage.database import Database
from app.storage.tables import access_keys, installation, issuers, now, partners

# In characters: what the tables hold.
LONGEST_PARTNER, LONGEST_AUDIENCE = 200, 1000
NO_PARTNER = "There is no such partner: see `partner list`"


def add_registration(
    database: Database,
    partner: str,
    issuer: str,
    audiences: Sequence[str],
    source: KeySource,
    *,
    is_test: bool = False,
) -> Keys:
    """Register an issuer for a partner, and the partner where it is new.

    Args:
        database: Where it is stored.
        partner: The partner's name.
        issuer: The JWTs' `iss`.
        audiences: One of them must be among the JWTs' `aud`.
        source: The issuer's keys, which are fetched and checked first.
        is_test: Whether all its users are test users.

    Returns:
        The issuer's keys.
    """
    _check_text("partner's name", partner, LONGEST_PARTNER)
    _check_text("issuer", issuer, LONGEST_ISSUER)
    values = _columns(audiences, source, is_test)
    keys = source.check(issuer)
    with _registering(database) as connection:
        partner_id = _partner_id(connection, partner)
        if partner_id is None:
            new = insert(partners).values(name=partner, created_at=now()).returning(partners.c.id)
            partner_id = connection.execute(new).scalar_one()
        if _registration(connection, partner_id, issuer, audiences):
            raise ConfigurationError("The partner has this issuer already: use `partner update`")
        values |= {"partner_id": partner_id, "issuer": issuer, "created_at": now()}
        connection.execute(insert(issuers).values(values))
    return keys


def update_registration(
    database: Database,
    partner: str,
    issuer: str,
    *,
    audiences: Sequence[str] | None = None,
    source: KeySource | None = None,
    is_test: bool | None = None,
) -> tuple[Row[Any], Row[Any], Keys | None]:
    """Change what is given of a registration, and nothing else.

    Args:
        database: Where it is stored.
        partner: The partner's name.
        issuer: The JWTs' `iss`.
        audiences: Replace all that there were.
        source: Replaces the keys; the new ones are fetched and checked first.
        is_test: Whether all its users are test users.

    Returns:
        The row before and after, and the issuer's keys, where they were given.
    """
    values = _columns(audiences, source, is_test)
    keys = source.check(issuer) if source else None
    with _registering(database) as connection:
        partner_id = _partner_id(connection, partner)
        before = _registration(connection, partner_id, issuer, audiences or ())
        if before is None:
            raise ConfigurationError("The partner does not have this issuer: see `partner list`")
        change = update(issuers).where(issuers.c.id == before.id).values(values)
        return before, connection.execute(change.returning(issuers)).one(), keys


def set_disabled(database: Database, partner: str, *, disabled: bool) -> None:
    """Disable a partner, so that all its credentials are refused, or enable it again."""
    since = func.coalesce(partners.c.disabled_at, now()) if disabled else None
    statement = update(partners).where(partners.c.name == partner).values(disabled_at=since)
    with database.writing() as connection:
        if connection.execute(statement).rowcount == 0:
            raise ConfigurationError(NO_PARTNER)


def create_access_key(database: Database, partner: str) -> str:
    """Create an access key. Only its hash is stored, so it cannot be shown again."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with database.writing() as connection:
        partner_id = _partner_id(connection, partner)
        if partner_id is None:
            raise ConfigurationError(NO_PARTNER)
        new = insert(access_keys).values(partner_id=partner_id, key_hash=hash_of(key))
        connection.execute(new.values(created_at=now()))
    return key


def revoke_access_key(database: Database, key_id: int) -> None:
    """Revoke an access key for good; revoked again, it keeps its date."""
    revoked_at = func.coalesce(access_keys.c.revoked_at, now())
    statement = update(access_keys).where(access_keys.c.id == key_id).values(revoked_at=revoked_at)
    is_an_id = 0 < key_id < 2**63
    with database.writing() as connection:
        if not is_an_id or connection.execute(statement).rowcount == 0:
            raise ConfigurationError(f"There is no access key {key_id}: see `access-key list`")


def audiences_of(row: Row[Any]) -> list[str]:
    """Return the audiences of a row of `issuers`."""
    return [row.audience, *(row.more_audiences or ())]


@contextmanager
def _registering(database: Database) -> Iterator[Connection]:
    """Open a transaction in which no other command checks or changes registrations."""
    with database.writing() as connection:
        connection.execute(update(installation).values(id=installation.c.id))
        yield connection


def _partner_id(connection: Connection, name: str) -> int | None:
    return connection.scalar(select(partners.c.id).where(partners.c.name == name))


def _registration(
    connection: Connection, partner_id: int | None, issuer: str, audiences: Sequence[str]
) -> Row[Any] | None:
    """Return the partner's registration of an issuer; no other may have one of the audiences."""
    rows = connection.execute(select(issuers).where(issuers.c.issuer == issuer)).all()
    for row in rows:
        if row.partner_id != partner_id and not set(audiences).isdisjoint(audiences_of(row)):
            raise ConfigurationError(
                "Another partner has this issuer with one of these audiences: see `partner list`"
            )
    return next((row for row in rows if row.partner_id == partner_id), None)


def _check_text(what: str, text: str, longest: int) -> None:
    if not is_plain(text, longest):
        raise ConfigurationError(f"The {what} is not plain text of 1 to {longest} characters")


def _columns(
    audiences: Sequence[str] | None, source: KeySource | None, is_test: bool | None
) -> dict[str, Any]:
    """Return the columns for what is given."""
    columns: dict[str, Any] = {} if is_test is None else {"is_test": is_test}
    if source is not None:
        columns |= asdict(source)
    if audiences is not None:
        for audience in audiences:
            _check_text("audience", audience, LONGEST_AUDIENCE)
        first, *more = dict.fromkeys(audiences)
        columns |= {"audience": first, "more_audiences": more or None}
    return columns
