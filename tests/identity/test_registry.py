"""What operators register: partners, issuers, access keys."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from identity.test_issuers_standin import JwksServer, signer
from sqlalchemy import select, text

from app.checkup import check
from app.config import Settings
from app.errors import ConfigurationError, InvalidAccessKey, StorageUnavailable
from app.identity import registry
from app.identity.credentials import Identity
from app.identity.registry import add_issuer, create_access_key, list_access_keys, revoke_access_key
from app.sandbox.standin.server import StandIn
from app.storage.database import Database
from app.storage.tables import access_keys, issuers

ISSUER, AUDIENCE = "https://acme.example/", "https://api.coord.co"
SECRET = b"0123456789abcdef" * 2
JWKS = {"keys": [signer(kid="k").jwk]}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"partner_name": ""}, "partner's name"),
        ({"partner_name": "a" * 201}, "partner's name"),
        ({"issuer": "a\nb"}, "issuer"),
        ({"audience": ""}, "audience"),
        ({"jwks": JWKS}, "a JWK Set's URL, a JWK Set or a shared secret"),
        ({"shared_secret": None}, "a JWK Set's URL, a JWK Set or a shared secret"),
        ({"shared_secret": b"short"}, "at least 32"),
        ({"shared_secret": None, "jwks": {"keys": []}}, "holds no key"),
        ({"shared_secret": None, "jwks_url": "http://acme.example/keys"}, "https"),
    ],
)
def test_senseless_issuer_is_refused(
    database: Database, changed: dict[str, Any], words: str
) -> None:
    """With one line that says why; nothing of it is stored."""
    given: dict[str, Any] = {
        "partner_name": "Acme",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "shared_secret": SECRET,
        **changed,
    }
    with pytest.raises(ConfigurationError, match=words):
        add_issuer(database.engine, **given)
    assert registry.list_partners(database.engine) == []


def test_partners_are_listed_with_nothing_secret(database: Database) -> None:
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, shared_secret=SECRET)
    add_issuer(database.engine, "Acme", "https://test.acme/", AUDIENCE, jwks=JWKS, is_test=True)
    url = "https://bike.example/keys"
    add_issuer(database.engine, "Bike", "https://bike.example/", AUDIENCE, jwks_url=url)
    listed = registry.list_partners(database.engine)
    assert [(row["partner"], row["keys"], row["test"]) for row in listed] == [
        ("Acme", "shared secret", "no"),
        ("Acme", "JWK Set", "yes"),
        ("Bike", url, "no"),
    ]
    assert SECRET.decode() not in str(listed)


def test_access_key_is_shown_once_and_stored_as_a_hash(database: Database) -> None:
    """256 random bits behind a prefix by which scanners know it; two are never the same."""
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks=JWKS)
    key, other = (create_access_key(database.engine, "Acme") for _ in range(2))
    assert key != other
    assert key.startswith("coord_ak_")
    assert len(key) == len("coord_ak_") + 43
    with database.reading() as connection:
        hashes = connection.scalars(select(access_keys.c.key_hash)).all()
    assert set(hashes) == {hashlib.sha256(one.encode()).digest() for one in (key, other)}
    assert key not in str(list_access_keys(database.engine))


def test_access_key_for_nobody_is_refused(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="no such partner"):
        create_access_key(database.engine, "Acme")


@pytest.mark.parametrize("key_id", [0, -1, 7, 2**63])
def test_revoking_what_is_not_there_is_told(database: Database, key_id: int) -> None:
    with pytest.raises(ConfigurationError, match="no access key"):
        revoke_access_key(database.engine, key_id)


@pytest.mark.both_databases
def test_life_of_an_access_key(database: Database) -> None:
    """Its use is recorded, coarsely; once revoked, it is refused when the cache has ended."""
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks=JWKS)
    key = create_access_key(database.engine, "Acme")
    assert list_access_keys(database.engine)[0]["last_used"] is None
    now = [0.0]

    async def live() -> None:
        identity = Identity(database.engine, ticks=lambda: now[0])
        assert await identity.partner_of(key) == 1
        await asyncio.gather(*identity._recordings)
        (listed,) = list_access_keys(database.engine)
        assert listed["last_used"]
        assert not listed["revoked"]
        revoke_access_key(database.engine, 1)
        now[0] = 4.9
        assert await identity.partner_of(key) == 1
        now[0] = 5.0
        with pytest.raises(InvalidAccessKey):
            await identity.partner_of(key)

    asyncio.run(live())
    first = list_access_keys(database.engine)[0]["revoked"]
    assert first
    revoke_access_key(database.engine, 1)
    assert list_access_keys(database.engine)[0]["revoked"] == first


def test_use_that_cannot_be_recorded_is_no_callers_concern(database: Database) -> None:
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks=JWKS)
    key = create_access_key(database.engine, "Acme")
    with database.writing() as connection:
        connection.execute(
            text(
                "create trigger refuse before update on access_keys"
                " begin select raise(abort, 'no'); end"
            )
        )

    async def use() -> int:
        identity = Identity(database.engine)
        partner_id = await identity.partner_of(key)
        await asyncio.gather(*identity._recordings)
        return partner_id

    assert asyncio.run(use()) == 1


def test_same_issuer_registered_twice_at_once_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loser of the race gets a line, not a trace."""
    add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks=JWKS)
    monkeypatch.setattr("app.identity.registry._partner_id", lambda *_: None)
    with pytest.raises(ConfigurationError, match="concurrent command"):
        add_issuer(database.engine, "Acme", "https://other.example/", AUDIENCE, jwks=JWKS)


def test_database_that_is_gone_is_told(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("drop table access_keys"))
    with pytest.raises(StorageUnavailable):
        list_access_keys(database.engine)


# What `coord-users check` says.


def troubles(settings: Settings) -> dict[str, str]:
    """Give what is looked at, and what is wrong with it."""
    return {result.what: result.trouble for result in check(settings)}


def test_all_is_well(settings: Settings, database: Database) -> None:
    with JwksServer(signer(kid="k").jwk) as server:
        add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks_url=server.url)
        add_issuer(database.engine, "Acme", "https://b/", AUDIENCE, shared_secret=SECRET)
        told = troubles(settings)
    assert set(told) == {
        "database",
        "migrations",
        "commits",
        f"issuer {ISSUER}",
        "issuer https://b/",
        "Stripe",
    }
    assert not any(told.values())


def test_issuers_keys_in_trouble(settings: Settings, database: Database) -> None:
    """Weak by now, not to be had, or none that is of use: each is told, by its issuer."""
    with JwksServer() as server:
        add_issuer(database.engine, "Acme", "https://none/", AUDIENCE, jwks_url=server.url)
        add_issuer(database.engine, "Acme", "https://weak/", AUDIENCE, shared_secret=SECRET)
        away = "http://127.0.0.1:9/keys"
        add_issuer(database.engine, "Acme", "https://away/", AUDIENCE, jwks_url=away)
        with database.writing() as connection:
            weak = issuers.c.issuer == "https://weak/"
            connection.execute(issuers.update().where(weak).values(shared_secret=b"short"))
        told = troubles(settings)
    assert "holds no key" in told["issuer https://none/"]
    assert "at least 32" in told["issuer https://weak/"]
    assert "not to be had" in told["issuer https://away/"]


def test_service_without_partners(settings: Settings) -> None:
    assert "partner add" in troubles(settings)["partners"]


def test_stripe_in_trouble(settings: Settings, standin: StandIn) -> None:
    """No key, a wrong key, or nobody there: told without the key."""
    assert "not set" in troubles(replace(settings, stripe_secret_key=""))["Stripe"]
    wrong = replace(settings, stripe_secret_key="sk_live_wrong1234")
    assert "does not take STRIPE_SECRET_KEY" in troubles(wrong)["Stripe"]
    away = replace(settings, stripe_api_base="http://127.0.0.1:9")
    assert "cannot be reached" in troubles(away)["Stripe"]
    assert not any("sk_live_wrong" in trouble for trouble in troubles(wrong).values())


def test_database_in_trouble(settings: Settings, tmp_path: Any) -> None:
    """What cannot be looked at is left out; the rest is told all the same."""
    empty = replace(settings, database_url=f"sqlite:///{tmp_path}/empty.db")
    assert "coord-users migrate" in troubles(empty)["migrations"]
    away = replace(settings, database_url="sqlite:////nowhere/at/all.db")
    told = troubles(away)
    assert "cannot be used" in told["database"]
    assert told["Stripe"] == ""
    assert "migrations" not in told
