"""Verifies a JWT as the service does, without a database, for tests of JWTs and keys alone."""

from typing import Any

from support.issuer import AUDIENCE, NOW, signer

from app.customers.user import User
from app.identity.credentials import read_user
from app.identity.issuers import IssuerKeys, Registration
from app.identity.jwks import KeySource
from app.identity.jwts import parse
from app.identity.keys import Keys, read_jwk_set
from app.telemetry.metrics import Metrics

JWKS: Any = {"keys": [signer("RS256", "rsa").jwk, signer("ES256", "ec").jwk]}
KEYS = read_jwk_set({"keys": [*JWKS["keys"], signer("EdDSA", "ed").jwk]})
UNUSED = IssuerKeys(KeySource(), {}, Metrics(), lambda: 0.0)
REGISTRATION = Registration(1, 1, "Acme", frozenset({AUDIENCE}), is_test=False, keys=UNUSED)


def verified_user(jwt: str, keys: Keys = KEYS, now: float = NOW) -> User:
    """Return the user of a JWT that one of the keys has signed."""
    parsed = parse(jwt)
    keys.check_signature(parsed)
    return read_user(parsed, REGISTRATION, now)
