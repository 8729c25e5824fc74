"""Whose JWT it is: issuer and audience name the registration, before anything is fetched."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from support.issuer import ISSUER, Clock, JwksServer, Signer, forge, signer

from app.customers.user import User
from app.errors import InvalidUserToken, IssuerUnavailable, PartnerMismatch
from app.identity.credentials import Identity
from app.identity.jwks import KeySource
from app.identity.registry import add_registration, set_disabled, update_registration
from app.storage.database import Database

pytestmark = pytest.mark.anyio

ACME, BIKE = 1, 2
KEY = signer("ES256", "key")


@pytest.fixture
def acme(database: Database) -> Iterator[JwksServer]:
    """The issuer that both partners registered; this registration is Acme's."""
    with JwksServer(KEY.jwk) as running:
        add_registration(database, "Acme", ISSUER, ["a", "b"], KeySource(running.url))
        running.fetches = 0
        yield running


@pytest.fixture
def bike(database: Database, acme: JwksServer) -> Iterator[JwksServer]:
    with JwksServer(KEY.jwk) as running:
        add_registration(database, "Bike", ISSUER, ["c"], KeySource(running.url), is_test=True)
        running.fetches = 0
        yield running


@pytest.fixture
def identity(database: Database, ticks: Clock) -> Identity:
    return Identity(database.engine, clock=Clock(), ticks=ticks)


async def user_of(identity: Identity, partner_id: int, by: Signer = KEY, **claims: Any) -> User:
    return await identity.user_of(forge({}, claims, by=by), partner_id)


@pytest.mark.parametrize("aud", ["a", "b", ["b"], ["x", "a"], ["a", "b"]])
async def test_any_of_several_audiences_is_accepted(
    identity: Identity, acme: JwksServer, aud: Any
) -> None:
    """It is the same user, whichever application asked for the JWT."""
    user = await user_of(identity, ACME, aud=aud)
    assert (user.issuer_id, user.partner_id, user.partner, user.issuer) == (1, 1, "Acme", ISSUER)


async def test_partners_may_share_an_issuer(
    identity: Identity, acme: JwksServer, bike: JwksServer
) -> None:
    """The audience decides, and the same subject is a user of each."""
    ours = await user_of(identity, ACME, aud="a")
    theirs = await user_of(identity, BIKE, aud="c")
    assert (ours.issuer_id, ours.is_test, theirs.issuer_id, theirs.is_test) == (1, False, 2, True)


async def test_a_jwt_that_names_two_partners_is_refused(
    identity: Identity, acme: JwksServer, bike: JwksServer
) -> None:
    for partner in (ACME, BIKE):
        with pytest.raises(InvalidUserToken, match="several partners"):
            await user_of(identity, partner, aud=["a", "c"])


async def test_another_partners_jwt_is_refused_and_nothing_is_fetched(
    identity: Identity, acme: JwksServer, bike: JwksServer
) -> None:
    """Genuine or forged: an access key causes no fetches of another partner's keys."""
    forger = Signer("ES256", "forged", signer("ES256", "thief").private)
    for by in (KEY, forger):
        with pytest.raises(PartnerMismatch):
            await user_of(identity, ACME, by=by, aud="c")
    assert acme.fetches == bike.fetches == 0


async def test_a_jwt_without_a_registered_audience_causes_no_fetch(
    identity: Identity, acme: JwksServer
) -> None:
    for aud in ("c", [], ["A"], "a,b"):
        with pytest.raises(InvalidUserToken, match="`aud`"):
            await user_of(identity, ACME, aud=aud)
    assert acme.fetches == 0


async def test_forged_jwts_of_one_partner_do_not_hold_up_another(
    identity: Identity, acme: JwksServer, bike: JwksServer, ticks: Clock
) -> None:
    """Bike's access key uses up Bike's refetches; a new key of Acme's works at once."""
    await user_of(identity, ACME, aud="a")
    forged = Signer("ES256", "forged", signer("ES256", "thief").private)
    for ticks.now in range(1, 7):
        with pytest.raises((InvalidUserToken, IssuerUnavailable)):
            await user_of(identity, BIKE, by=forged, aud="c")
        with pytest.raises(PartnerMismatch):
            await user_of(identity, BIKE, by=forged, aud="a")
    new = signer("ES256", "new")
    acme.keys = [new.jwk]
    assert await user_of(identity, ACME, by=new, aud="a")


async def test_a_disabled_partners_jwts_are_refused_once_the_cache_has_ended(
    database: Database, identity: Identity, acme: JwksServer, bike: JwksServer, ticks: Clock
) -> None:
    await user_of(identity, ACME, aud="a")
    set_disabled(database, "Acme", disabled=True)
    ticks.now = 5.0
    with pytest.raises(InvalidUserToken):
        await user_of(identity, ACME, aud="a")
    assert await user_of(identity, BIKE, aud="c")
    set_disabled(database, "Acme", disabled=False)
    ticks.now = 10.0
    assert await user_of(identity, ACME, aud="a")


async def test_an_update_counts_once_the_cache_has_ended(
    database: Database, identity: Identity, acme: JwksServer, ticks: Clock
) -> None:
    """Keys outlive the cache of registrations, unless where they come from has changed."""
    await user_of(identity, ACME, aud="a")
    ticks.now = 6.0
    await user_of(identity, ACME, aud="a")
    assert acme.fetches == 1
    new = signer("ES256", "new")
    source = KeySource(jwks={"keys": [new.jwk]})
    update_registration(database, "Acme", ISSUER, audiences=["d"], source=source)
    ticks.now = 12.0
    assert await user_of(identity, ACME, by=new, aud="d")
    with pytest.raises(InvalidUserToken, match="`aud`"):
        await user_of(identity, ACME, by=new, aud="a")


async def test_keys_in_the_database_that_cannot_be_read_are_not_the_users_fault(
    database: Database, identity: Identity
) -> None:
    """They satisfied an older version: the log says so, and `check`; users get 503."""
    add_registration(database, "Acme", ISSUER, ["a"], KeySource(jwks={"keys": [KEY.jwk]}))
    with database.writing() as connection:
        connection.execute(text("update issuers set jwks = '{}'"))
    with capture_logs() as events, pytest.raises(IssuerUnavailable):
        await user_of(identity, ACME, aud="a")
    assert [event["event"] for event in events] == ["issuer's keys not read"]


async def test_what_version_1_0_registered_is_accepted(
    database: Database, identity: Identity, acme: JwksServer, ticks: Clock
) -> None:
    """It replaces `audience`, and does not know of further ones."""
    with database.writing() as connection:
        connection.execute(text("update issuers set audience = 'z'"))
    for aud in ("z", "b"):
        assert await user_of(identity, ACME, aud=aud)
    with pytest.raises(InvalidUserToken):
        await user_of(identity, ACME, aud="a")
