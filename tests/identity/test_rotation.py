"""Secrets are replaced without downtime: the old and the new work side by side for a while."""

import asyncio
import json
import secrets
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from support.serving import AUDIENCE

from app.customers.user import User
from app.errors import ConfigurationError, InvalidUserToken
from app.identity import registry
from app.identity.credentials import Identity
from app.storage.database import Database

ISSUER = "https://acme.example/"


def claims() -> dict[str, object]:
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": int(time.time()) + 600}


def user_of(database: Database, token: str) -> User:
    """Check a JWT as a process does that has just started."""
    return asyncio.run(Identity(database.engine).user_of(token))


def test_shared_secret_is_replaced(database: Database) -> None:
    """Both are taken while both are registered; then the new one alone; the user stays the same."""
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    by_old, by_new = (jwt.encode(claims(), key, algorithm="HS256") for key in (old, new))

    def register(*lines: str) -> None:
        secret = "\n".join(lines).encode()
        registry.add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, shared_secret=secret)

    register(old)
    user = user_of(database, by_old)
    with pytest.raises(InvalidUserToken):
        user_of(database, by_new)
    register(new, old)
    assert user_of(database, by_old) == user_of(database, by_new) == user
    register(new)
    assert user_of(database, by_new) == user
    with pytest.raises(InvalidUserToken):
        user_of(database, by_old)


def test_each_of_several_secrets_is_long(database: Database) -> None:
    """A short one next to a long one would be as good as none."""
    secret = f"{secrets.token_hex(32)}\n{secrets.token_hex(8)}".encode()
    with pytest.raises(ConfigurationError, match="at least 32"):
        registry.add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, shared_secret=secret)


def test_keys_by_file_are_replaced(database: Database) -> None:
    """A JWK Set takes the place of the one before, and of a shared secret."""
    secret = secrets.token_hex(32)
    registry.add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, shared_secret=secret.encode())
    key = Ed25519PrivateKey.generate()
    jwk = json.loads(OKPAlgorithm.to_jwk(key.public_key()))
    registry.add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, jwks={"keys": [jwk]})
    assert user_of(database, jwt.encode(claims(), key, algorithm="EdDSA")).subject == "user-1"
    with pytest.raises(InvalidUserToken):
        user_of(database, jwt.encode(claims(), secret, algorithm="HS256"))


def test_nobody_takes_the_issuer_of_another_partner(database: Database) -> None:
    """Whose JWTs it signs would be another partner's users."""
    secret = secrets.token_bytes(32).hex().encode()
    registry.add_issuer(database.engine, "Acme", ISSUER, AUDIENCE, shared_secret=secret)
    with pytest.raises(ConfigurationError, match="another partner's"):
        registry.add_issuer(database.engine, "Other", ISSUER, AUDIENCE, shared_secret=secret)
    assert [row["partner"] for row in registry.list_partners(database.engine)] == ["Acme"]
