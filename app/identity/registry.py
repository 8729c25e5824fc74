"""What operators register: partners, the issuers of their users' JWTs, and access keys."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.errors import ConfigurationError, StorageUnavailable
from app.identity.credentials import KEY_PREFIX, hash_of
from app.identity.issuers import check_url, fetch, given_keys
from app.identity.jwts import is_plain
from app.storage.errors import storage_errors
from app.storage.tables import access_keys, issuers, now, partners


def add_issuer(
    engine: Engine,
    partner_name: str,
    issuer: str,
    audience: str,
    *,
    jwks_url: str | None = None,
    jwks: object = None,
    shared_secret: bytes | None = None,
    is_test: bool = False,
) -> None:
    """Register an issuer, and its partner where that is new; once more, to replace its keys.

    Args:
        engine: the database.
        partner_name: up to 200 characters.
        issuer: the JWTs' `iss`, up to 1,000 characters; it belongs to one partner only.
        audience: what must be among the JWTs' `aud`, up to 1,000 characters.
        jwks_url: where the issuer publishes its keys; this, or one of the next two.
        jwks: a JWK Set (RFC 7517) of public keys.
        shared_secret: at least 32 random bytes, for HS256; several on a line each.
        is_test: whether all its users are test users.

    Raises:
        ConfigurationError: one line says what is wrong.
        StorageUnavailable: the database cannot be used.
    """
    for what, text, longest in (
        ("partner's name", partner_name, 200),
        ("issuer", issuer, 1000),
        ("audience", audience, 1000),
    ):
        if not is_plain(text, longest):
            raise ConfigurationError(f"The {what} is no plain text of 1 to {longest} characters")
    if sum(source is not None for source in (jwks_url, jwks, shared_secret)) != 1:
        raise ConfigurationError("An issuer has a JWK Set's URL, a JWK Set or a shared secret")
    if jwks_url is not None:
        check_url(jwks_url)
    else:
        given_keys(jwks, shared_secret)
    with _writing(engine) as connection:
        partner_id = _partner_id(connection, partner_name)
        if partner_id is None:
            new = insert(partners).values(name=partner_name, created_at=now())
            partner_id = connection.execute(new.returning(partners.c.id)).scalar_one()
        told = {
            "audience": audience,
            "is_test": is_test,
            "jwks_url": jwks_url,
            "jwks": jwks,
            "shared_secret": shared_secret,
        }
        known = connection.execute(select(issuers).where(issuers.c.issuer == issuer)).one_or_none()
        if known is None:
            new = insert(issuers).values(issuer=issuer, partner_id=partner_id, created_at=now())
            connection.execute(new.values(told))
        elif known.partner_id == partner_id:
            connection.execute(update(issuers).where(issuers.c.id == known.id).values(told))
        else:
            raise ConfigurationError("The issuer is another partner's: see `partner list`")


def list_partners(engine: Engine) -> list[dict[str, Any]]:
    """List each partner's issuers, with nothing secret."""
    statement = (
        select(partners.c.name, issuers)
        .join_from(partners, issuers)
        .order_by(partners.c.name, issuers.c.id)
    )
    return [
        {
            "partner": row.name,
            "issuer": row.issuer,
            "audience": row.audience,
            "keys": row.jwks_url or ("shared secret" if row.shared_secret else "JWK Set"),
            "test": "yes" if row.is_test else "no",
            "created": _time(row.created_at),
        }
        for row in _rows(engine, statement)
    ]


def check_issuers(engine: Engine) -> Iterator[tuple[str, str]]:
    """Try each issuer's keys; those by URL are fetched, which takes some seconds each at worst.

    Yields:
        Of each issuer in trouble, its name and one line.
    """
    for row in _rows(engine, select(issuers).order_by(issuers.c.id)):
        try:
            if row.jwks_url is None:
                given_keys(row.jwks, row.shared_secret)
            elif not fetch(row.jwks_url):
                yield row.issuer, "The JWK Set holds no key for RS256, ES256 or EdDSA"
        except ConfigurationError as error:
            yield row.issuer, str(error)


def create_access_key(engine: Engine, partner_name: str) -> str:
    """Make an access key; only its hash is stored, so it can't be shown again.

    Raises:
        ConfigurationError: there is no such partner.
        StorageUnavailable: the database cannot be used.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with _writing(engine) as connection:
        partner_id = _partner_id(connection, partner_name)
        if partner_id is None:
            raise ConfigurationError("There is no such partner: see `partner list`")
        new = insert(access_keys).values(partner_id=partner_id, key_hash=hash_of(key))
        connection.execute(new.values(created_at=now()))
    return key


def list_access_keys(engine: Engine) -> list[dict[str, Any]]:
    """List all access keys by id; the last use is told to the hour or so."""
    statement = (
        select(partners.c.name, access_keys)
        .join_from(partners, access_keys)
        .order_by(access_keys.c.id)
    )
    return [
        {
            "id": row.id,
            "partner": row.name,
            "created": _time(row.created_at),
            "last_used": _time(row.last_used_at),
            "revoked": _time(row.revoked_at),
        }
        for row in _rows(engine, statement)
    ]


def revoke_access_key(engine: Engine, key_id: int) -> None:
    """Revoke an access key, for good; to do it again changes nothing.

    Raises:
        ConfigurationError: there is no such key.
        StorageUnavailable: the database cannot be used.
    """
    revoked_at = func.coalesce(access_keys.c.revoked_at, now())
    statement = update(access_keys).where(access_keys.c.id == key_id).values(revoked_at=revoked_at)
    is_an_id = 0 < key_id < 2**63
    with _writing(engine) as connection:
        if not is_an_id or connection.execute(statement).rowcount == 0:
            raise ConfigurationError(f"There is no access key {key_id}: see `access-key list`")


def _partner_id(connection: Connection, name: str) -> int | None:
    return connection.scalar(select(partners.c.id).where(partners.c.name == name))


def _rows(engine: Engine, statement: Any) -> list[Any]:
    with storage_errors(), engine.connect() as connection:
        return list(connection.execute(statement))


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    try:
        with storage_errors(), engine.begin() as connection:
            yield connection
    except StorageUnavailable as error:
        if isinstance(error.__cause__, IntegrityError):
            raise ConfigurationError(
                "It was registered by a concurrent command; try again"
            ) from None
        raise


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
