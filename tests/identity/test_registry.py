"""What operators register: partners, issuers, access keys."""

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, text
from support.issuer import JwksServer, signer

from app.errors import ConfigurationError, InvalidAccessKey
from app.identity.credentials import Identity
from app.identity.issuers import audiences_of
from app.identity.jwks import KeySource
from app.identity.registry import (
    add_registration,
    create_access_key,
    revoke_access_key,
    set_disabled,
    update_registration,
)
from app.storage.database import Database
from app.storage.tables import access_keys, issuers, partners

ISSUER, AUDIENCE = "https://acme.example/", "https://api.coord.co"
SECRET = KeySource(shared_secret=b"0123456789abcdef" * 2)
JWKS = KeySource(jwks={"keys": [signer(kid="k").jwk]})


def rows(database: Database, table: Any = issuers) -> list[Any]:
    with database.reading() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"partner": ""}, "partner's name"),
        ({"partner": "a" * 201}, "partner's name"),
        ({"issuer": "a\nb"}, "issuer"),
        ({"audiences": [""]}, "audience"),
        ({"audiences": ["a", "b" * 1001]}, "audience"),
        ({"source": KeySource(shared_secret=b"short")}, "at least 32"),
        ({"source": KeySource(jwks={"keys": []})}, "No key"),
        ({"source": KeySource(jwks_url="http://acme.example/keys")}, "https"),
        ({"source": KeySource(jwks_url="http://127.0.0.1:9/keys")}, "cannot be fetched"),
    ],
)
def test_a_faulty_registration_is_refused(
    database: Database, changed: dict[str, Any], words: str
) -> None:
    """With one line that says why; nothing of it is stored."""
    given: dict[str, Any] = {"partner": "Acme", "issuer": ISSUER, "audiences": [AUDIENCE]}
    with pytest.raises(ConfigurationError, match=words):
        add_registration(database, **{**given, "source": SECRET, **changed})
    assert rows(database) == rows(database, partners) == []


def test_a_registration_has_several_audiences(database: Database) -> None:
    """The first is where the version before looks for the only one."""
    add_registration(database, "Acme", ISSUER, ["a", "b", "a", "c"], JWKS)
    (row,) = rows(database)
    assert (row.audience, audiences_of(row)) == ("a", ["a", "b", "c"])


def test_what_is_registered_is_not_registered_again(database: Database) -> None:
    add_registration(database, "Acme", ISSUER, [AUDIENCE], JWKS, is_test=True)
    before = rows(database)
    with pytest.raises(ConfigurationError, match="use `partner update`"):
        add_registration(database, "Acme", ISSUER, ["another"], SECRET)
    assert rows(database) == before


def test_partners_share_an_issuer_by_different_audiences(database: Database) -> None:
    add_registration(database, "Acme", ISSUER, ["a", "b"], JWKS)
    add_registration(database, "Bike", ISSUER, ["c"], JWKS)
    with pytest.raises(ConfigurationError, match="Another partner"):
        add_registration(database, "Car", ISSUER, ["d", "b"], JWKS)
    with pytest.raises(ConfigurationError, match="Another partner"):
        update_registration(database, "Bike", ISSUER, audiences=["a"])
    assert [audiences_of(row) for row in rows(database)] == [["a", "b"], ["c"]]
    assert [row.name for row in rows(database, partners)] == ["Acme", "Bike"]


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"audiences": ["b", "c"]}, {"audience": "b", "more_audiences": ["c"]}),
        ({"source": SECRET}, {"jwks": None, "shared_secret": SECRET.shared_secret}),
        ({"is_test": False}, {"is_test": False}),
        ({"is_test": True}, {}),
    ],
)
def test_an_update_changes_what_is_given_and_nothing_else(
    database: Database, given: dict[str, Any], changed: dict[str, Any]
) -> None:
    add_registration(database, "Acme", ISSUER, ["a", "b"], JWKS, is_test=True)
    add_registration(database, "Acme", "https://other/", ["a"], JWKS)
    (old, other) = rows(database)
    before, after, _ = update_registration(database, "Acme", ISSUER, **given)
    assert before == old
    assert dict(after._mapping) == {**old._mapping, **changed}
    assert rows(database) == [after, other]


@pytest.mark.parametrize(("partner", "issuer"), [("Acme", "https://b/"), ("Bike", ISSUER)])
def test_what_is_not_registered_is_not_updated(
    database: Database, partner: str, issuer: str
) -> None:
    add_registration(database, "Acme", ISSUER, [AUDIENCE], JWKS)
    with pytest.raises(ConfigurationError, match="does not have this issuer"):
        update_registration(database, partner, issuer, is_test=True)


def test_new_keys_are_checked_before_they_replace_the_old(database: Database) -> None:
    add_registration(database, "Acme", ISSUER, [AUDIENCE], JWKS)
    before = rows(database)
    with pytest.raises(ConfigurationError, match="No key"):
        update_registration(database, "Acme", ISSUER, source=KeySource(jwks={"keys": []}))
    assert rows(database) == before


@pytest.mark.both_databases
def test_commands_at_the_same_time_share_no_audience(database: Database) -> None:
    """Only one of them registers it; the others get a line that says why."""

    def add(partner: str) -> bool:
        try:
            add_registration(database, partner, ISSUER, [AUDIENCE, partner], SECRET)
        except ConfigurationError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(add, ["Acme", "Bike", "Car", "Dart"]))
    assert sum(added) == len(rows(database)) == 1


def test_access_key_is_shown_once_and_stored_as_a_hash(database: Database) -> None:
    """256 random bits after a prefix by which scanners recognise it; two are never the same."""
    add_registration(database, "Acme", ISSUER, [AUDIENCE], JWKS)
    key, other = (create_access_key(database, "Acme") for _ in range(2))
    assert key != other
    assert key.startswith("coord_ak_")
    assert len(key) == len("coord_ak_") + 43
    hashes = {row.key_hash for row in rows(database, access_keys)}
    assert hashes == {hashlib.sha256(one.encode()).digest() for one in (key, other)}


def test_a_partner_that_does_not_exist(database: Database) -> None:
    for command in (create_access_key, lambda *given: set_disabled(*given, disabled=True)):
        with pytest.raises(ConfigurationError, match="no such partner"):
            command(database, "Acme")


@pytest.mark.parametrize("key_id", [0, -1, 7])
def test_an_access_key_that_does_not_exist(database: Database, key_id: int) -> None:
    with pytest.raises(ConfigurationError, match="no access key"):
        revoke_access_key(database, key_id)


class Clocked:
    """The credentials of one access key, with time standing still."""

    def __init__(self, database: Database) -> None:
        add_registration(database, "Acme", ISSUER, [AUDIENCE], JWKS)
        self.key = create_access_key(database, "Acme")
        self.now = 0.0
        self._runner = asyncio.Runner()
        self.identity = Identity(database.engine, ticks=lambda: self.now)

    def use(self) -> int:
        """Check the access key, and wait until its use is recorded."""
        return self._runner.run(self._use())

    def close(self) -> None:
        self._runner.close()

    async def _use(self) -> int:
        partner_id = await self.identity.partner_of(self.key)
        await asyncio.gather(*self.identity._recordings)
        return partner_id


@pytest.fixture
def clocked(database: Database) -> Iterator[Clocked]:
    used = Clocked(database)
    yield used
    used.close()


@pytest.mark.both_databases
def test_a_revoked_access_key_is_refused_once_the_cache_has_ended(
    database: Database, clocked: Clocked
) -> None:
    """Its use is recorded, coarsely; revoked again, it keeps its date."""
    assert rows(database, access_keys)[0].last_used_at is None
    assert clocked.use() == 1
    assert rows(database, access_keys)[0].last_used_at
    revoke_access_key(database, 1)
    clocked.now = 4.9
    assert clocked.use() == 1
    clocked.now = 5.0
    with pytest.raises(InvalidAccessKey):
        clocked.use()
    first = rows(database, access_keys)[0].revoked_at
    revoke_access_key(database, 1)
    assert rows(database, access_keys)[0].revoked_at == first


@pytest.mark.both_databases
def test_a_disabled_partners_access_keys_are_refused_until_it_is_enabled(
    database: Database, clocked: Clocked
) -> None:
    """Disabled again, it keeps its date."""
    assert clocked.use() == 1
    set_disabled(database, "Acme", disabled=True)
    since = rows(database, partners)[0].disabled_at
    clocked.now = 5.0
    with pytest.raises(InvalidAccessKey):
        clocked.use()
    set_disabled(database, "Acme", disabled=True)
    assert rows(database, partners)[0].disabled_at == since
    set_disabled(database, "Acme", disabled=False)
    assert clocked.use() == 1


def test_a_use_that_cannot_be_recorded_does_not_concern_the_caller(
    database: Database, clocked: Clocked
) -> None:
    with database.writing() as connection:
        connection.execute(
            text(
                "create trigger refuse before update on access_keys"
                " begin select raise(abort, 'no'); end"
            )
        )
    assert clocked.use() == 1


def test_keys_by_url_are_fetched_when_they_are_registered(database: Database) -> None:
    weak = {**signer(kid="k").jwk, "kid": ""}
    with JwksServer(signer(kid="k").jwk, weak) as server:
        keys = add_registration(database, "Acme", ISSUER, ["a"], KeySource(server.url))
        assert server.fetches == 1
        _, _, again = update_registration(database, "Acme", ISSUER, source=KeySource(server.url))
        assert server.fetches == 2
    assert again
    assert len(again.usable) == 1
    assert [key.kid for key in keys.usable] == ["k"]
    assert len(keys.passed_over) == 1
