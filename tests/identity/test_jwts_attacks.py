"""Attacks on JWTs: each is refused, for its own reason.

They go through the front door, `Identity.user_of`, with issuers registered in a real database.
"""

import json
from collections.abc import Iterator

import pytest
from support import attacks_on_content, attacks_on_keys, attacks_on_paddings
from support.forged_jwts import (
    ANY,
    EC,
    EC384,
    ED,
    EXPIRED,
    MISMATCH,
    OF_RSA,
    OTHER,
    OTHER_ISSUER,
    PSS,
    PUBLISHED,
    RSA,
    SECRET_ISSUER,
    Attack,
    Forged,
    claims,
    header,
    json_text,
    mislabelled,
    secretly,
    whole,
    written,
)
from support.issuer import AUDIENCE, ISSUER, NOW, SECRET, Clock

from app.errors import InvalidUserToken, PartnerMismatch, UsersApiError, UserTokenExpired
from app.identity import registry
from app.identity.credentials import Identity
from app.identity.jwks import KeySource
from app.storage.database import Database

pytestmark = pytest.mark.anyio

ATTACKS: list[Attack] = [
    *attacks_on_keys.ATTACKS,
    *attacks_on_paddings.ATTACKS,
    *attacks_on_content.ATTACKS,
]
ACME, OTHER_PARTNER = 1, 2


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('attacks')}/users.db")
    database.migrate()
    for partner, issuer, audience, source in (
        ("Acme", ISSUER, AUDIENCE, KeySource(jwks={"keys": PUBLISHED})),
        ("Acme", SECRET_ISSUER, AUDIENCE, KeySource(shared_secret=SECRET)),
        ("Other", OTHER_ISSUER, "other", KeySource(jwks={"keys": [OTHER.jwk]})),
    ):
        registry.add_registration(database, partner, issuer, [audience], source)
    yield database
    database.close()


@pytest.fixture
def identity(registered: Database) -> Identity:
    return Identity(registered.engine, clock=Clock())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.section}: {attack.name}")
async def test_an_attack_is_refused(attack: Attack, identity: Identity) -> None:
    """For its own reason, and with an answer that repeats nothing of it."""
    forged = attack.forged()
    with pytest.raises(UsersApiError) as refused:
        await identity.user_of(forged, ACME)
    expected = {EXPIRED: UserTokenExpired, MISMATCH: PartnerMismatch}
    assert type(refused.value) is expected.get(attack.words, InvalidUserToken)
    assert attack.words in refused.value.detail
    assert refused.value.inner is None
    assert not [part for part in forged.split(".") if len(part) > 8 and part in str(refused.value)]


@pytest.mark.parametrize(
    "genuine",
    [
        *(header(by=by) for by in (RSA, EC, ED, PSS, EC384)),
        *(mislabelled(ANY, name, name) for name in OF_RSA),
        secretly(),
        attacks_on_paddings.RIGHT,
        json_text(', "x": {"y": [1, -2.5, 1e3, "é", null, 99999999999999999999]}'),
        whole(json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": NOW + 1})),
        written(1, lambda part: part),
    ],
)
async def test_what_the_attacks_are_made_of_is_accepted(
    genuine: Forged, identity: Identity
) -> None:
    """So each attack fails for what it changes, and not for what it is made of."""
    assert (await identity.user_of(genuine(), ACME)).subject == "user-1"


async def test_the_other_partners_jwt_is_accepted_from_the_other_partner(
    identity: Identity,
) -> None:
    genuine = claims(by=OTHER, iss=OTHER_ISSUER, aud=["x", "other"])()
    assert (await identity.user_of(genuine, OTHER_PARTNER)).subject == "user-1"
    with pytest.raises(PartnerMismatch):
        await identity.user_of(genuine, ACME)
