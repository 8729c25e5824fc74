"""What operators register: partners, the issuers of their users' JWTs, and access keys.

Each function raises `ConfigurationError` with a line that says what the operator must correct, and
`StorageUnavailable` if the database cannot be used.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Insert, Row, Update, func, insert, literal, select, update

from app.errors import ConfigurationError
from app.identity.credentials import KEY_PREFIX, hash_of
from app.identity.issuers import audiences_of
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
    """Register an issuer, the JWTs' `iss`, for a partner, and the partner where it is new.

    One of the audiences must be among the JWTs' `aud`. The keys are fetched and checked first.

    Returns:
        The issuer's keys.
    """
    _check_text("partner's name", partner, LONGEST_PARTNER)
    _check_text("issuer", issuer, LONGEST_ISSUER)
    values = _columns(audiences, source, is_test)
    keys = source.check(issuer)
    with database.writing() as connection:
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
    """Change what is given of a registration, and nothing else; the rest is as for adding one.

    Returns:
        The row before and after, and the issuer's keys, where they were given.
    """
    values = _columns(audiences, source, is_test)
    keys = source.check(issuer) if source else None
    with database.writing() as connection:
        partner_id = _partner_id(connection, partner)
        before = _registration(connection, partner_id, issuer, audiences or ())
        if before is None:
            raise ConfigurationError("The partner does not have this issuer: see `partner list`")
        change = update(issuers).where(issuers.c.id == before.id).values(values)
        return before, connection.execute(change.returning(issuers)).one(), keys


def set_disabled(database: Database, partner: str, *, disabled: bool) -> None:
    """Disable a partner, so that all its credentials are refused, or enable it again."""
    since = func.coalesce(partners.c.disabled_at, now()) if disabled else None
    change = update(partners).where(partners.c.name == partner).values(disabled_at=since)
    _write(database, change, NO_PARTNER)


def create_access_key(database: Database, partner: str) -> str:
    """Create an access key. Only its hash is stored, so it cannot be shown again."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    row = select(partners.c.id, literal(hash_of(key)), now()).where(partners.c.name == partner)
    names = ["partner_id", "key_hash", "created_at"]
    _write(database, insert(access_keys).from_select(names, row), NO_PARTNER)
    return key


def revoke_access_key(database: Database, key_id: int) -> None:
    """Revoke an access key for good; revoked again, it keeps its date."""
    revoked_at = func.coalesce(access_keys.c.revoked_at, now())
    change = update(access_keys).where(access_keys.c.id == key_id).values(revoked_at=revoked_at)
    _write(database, change, f"There is no access key {key_id}: see `access-key list`")


def _write(database: Database, statement: Insert | Update, otherwise: str) -> None:
    with database.writing() as connection:
        if connection.execute(statement).rowcount == 0:
            raise ConfigurationError(otherwise)


def _partner_id(connection: Connection, name: str) -> int | None:
    """Return a partner's id; until the transaction ends, no other command registers anything."""
    connection.execute(update(installation).values(id=installation.c.id))
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
