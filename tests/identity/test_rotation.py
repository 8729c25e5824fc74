"""Secrets and keys are replaced without downtime: the old and the new are accepted for a while."""

import asyncio
import json
import secrets
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from support.issuer import Clock, JwksServer, forge, signer
from support.serving import AUDIENCE

from app.customers.user import User
from app.errors import ConfigurationError, InvalidUserToken, IssuerUnavailable
from app.identity import registry
from app.identity.credentials import Identity
from app.identity.jwks import KeySource
from app.storage.database import Database

ISSUER = "https://acme.example/"


def claims() -> dict[str, object]:
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": int(time.time()) + 600}


def user_of(database: Database, token: str) -> User:
    """Check a JWT as a process does that has just started."""
    return asyncio.run(Identity(database.engine).user_of(token, 1))


def register(database: Database, source: KeySource) -> None:
    registry.add_registration(database, "Acme", ISSUER, [AUDIENCE], source)


def replace(database: Database, source: KeySource) -> None:
    registry.update_registration(database, "Acme", ISSUER, source=source)


def test_a_shared_secret_is_replaced(database: Database) -> None:
    """Both are accepted while both are registered; then the new one. The user stays the same."""
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    by_old, by_new = (jwt.encode(claims(), key, algorithm="HS256") for key in (old, new))
    register(database, KeySource(shared_secret=old.encode()))
    user = user_of(database, by_old)
    with pytest.raises(InvalidUserToken):
        user_of(database, by_new)
    replace(database, KeySource(shared_secret=f"{new}\n{old}".encode()))
    assert user_of(database, by_old) == user_of(database, by_new) == user
    replace(database, KeySource(shared_secret=new.encode()))
    assert user_of(database, by_new) == user
    with pytest.raises(InvalidUserToken):
        user_of(database, by_old)


def test_each_of_several_secrets_is_long(database: Database) -> None:
    """A short one beside a long one would be as weak as no secret."""
    secret = f"{secrets.token_hex(32)}\n{secrets.token_hex(8)}".encode()
    with pytest.raises(ConfigurationError, match="at least 32"):
        register(database, KeySource(shared_secret=secret))


def test_keys_by_file_replace_a_shared_secret(database: Database) -> None:
    secret = secrets.token_hex(32)
    register(database, KeySource(shared_secret=secret.encode()))
    key = Ed25519PrivateKey.generate()
    jwk = json.loads(OKPAlgorithm.to_jwk(key.public_key()))
    replace(database, KeySource(jwks={"keys": [jwk]}))
    assert user_of(database, jwt.encode(claims(), key, algorithm="EdDSA")).subject == "user-1"
    with pytest.raises(InvalidUserToken):
        user_of(database, jwt.encode(claims(), secret, algorithm="HS256"))


class Rotation:
    """An issuer that replaces its keys, users with JWTs of both, and an attacker who forges."""

    def __init__(self, database: Database, server: JwksServer) -> None:
        self._server = server
        self._ticks = Clock(0.0)
        self._identity = Identity(database.engine, clock=time.time, ticks=self._ticks)
        self._published = [signer("ES256", "rotated-0")]
        self.accepted = self.withheld = self.forged = 0
        self._accepted_by_newest = asyncio.Event()

    async def rotate(self, times: int) -> None:
        """Publish a new key beside the one before, as soon as users of the last are accepted."""
        users = [asyncio.create_task(self._use(n % 2)) for n in range(8)]
        attackers = [asyncio.create_task(self._forge(n)) for n in range(4)]
        for n in range(1, times + 1):
            self._published = [signer("ES256", f"rotated-{n}"), self._published[0]]
            self._server.keys = [key.jwk for key in self._published]
            self._accepted_by_newest.clear()
            while not self._accepted_by_newest.is_set():
                before = self.withheld
                await asyncio.sleep(0.01)
                # Users wait for as long as `Retry-After` says.
                self._ticks.now += 10 if self.withheld > before else 0.01
        for task in (*users, *attackers):
            task.cancel()
        ended = await asyncio.gather(*users, *attackers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended

    async def _use(self, age: int) -> None:
        while True:
            key = self._published[min(age, len(self._published) - 1)]
            is_newest = key is self._published[0]
            try:
                await self._identity.user_of(forge({}, claims(), by=key), 1)
            except IssuerUnavailable as withheld:
                self.withheld += withheld.retry_after in range(1, 11)
            except InvalidUserToken:
                assert key not in self._published, "a user with a valid JWT was refused"
            else:
                self.accepted += 1
                if is_newest and key is self._published[0]:
                    self._accepted_by_newest.set()
            await asyncio.sleep(0)

    async def _forge(self, n: int) -> None:
        while True:
            forged = forge({"kid": f"forged-{n}-{self.forged}"}, claims(), by=signer("ES256"))
            with pytest.raises((InvalidUserToken, IssuerUnavailable)):
                await self._identity.user_of(forged, 1)
            self.forged += 1
            await asyncio.sleep(0)


def test_no_user_is_refused_while_keys_rotate_under_load(database: Database) -> None:
    """Not once 401: at worst 503 with `Retry-After`, while an attacker uses up the refetches."""
    with JwksServer(signer("ES256", "rotated-0").jwk) as server:
        register(database, KeySource(server.url))

        async def run() -> Rotation:
            rotation = Rotation(database, server)
            await rotation.rotate(12)
            return rotation

        rotation = asyncio.run(run())
    assert rotation.accepted > 50
    assert rotation.withheld > 0
    assert rotation.forged > 50


def test_without_an_attacker_no_user_waits_for_a_new_key(database: Database) -> None:
    """Each rotation costs one fetch, also when there are several in a minute."""
    with JwksServer(signer("ES256", "rotated-0").jwk) as server:
        register(database, KeySource(server.url))

        async def run() -> None:
            ticks = Clock(0.0)
            identity = Identity(database.engine, clock=time.time, ticks=ticks)
            for n in range(4):
                keys = [signer("ES256", f"rotated-{max(n - age, 0)}") for age in (0, 1)]
                server.keys = [key.jwk for key in keys]
                users = [
                    identity.user_of(forge({}, claims(), by=key), 1) for key in keys for _ in "1234"
                ]
                ticks.now += 15
                await asyncio.gather(*users)

        asyncio.run(run())
        assert server.fetches == 1 + 1 + 3
