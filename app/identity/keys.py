"""Keys that verify JWTs: the public keys of a JWK Set (RFC 7517), or a shared secret.

PyJWT and cryptography read the keys and verify the signatures. What they leave to others: which
keys are strong enough, and which algorithms a key may be used with (RFC 8725, section 3).
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import InvalidKeyError

from app.errors import ConfigurationError, InvalidUserToken
from app.identity.jwts import HMAC, LONGEST_KID, PUBLIC_ALGORITHMS, ParsedJwt, is_plain
from app.strict_json import Json

IMPLEMENTATIONS = get_default_algorithms()
# The algorithms of each kind of published key, by `kty` and `crv`. None of them is an HMAC.
ALGORITHMS_OF: dict[tuple[Json, Json], frozenset[str]] = {
    ("RSA", None): frozenset(name for name in PUBLIC_ALGORITHMS if name[:2] in ("RS", "PS")),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
# RFC 7518, sections 6.2.2, 6.3.2 and 6.4; `priv` is that of newer types of key.
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
# Below: SP 800-131A. Above: each verification would cost milliseconds.
RSA_BITS = range(2048, 8192 + 1)
# FIPS 186-5, section A.1.1, with a lower ceiling for speed.
RSA_EXPONENTS = range(2**16 + 1, 2**32, 2)
# Primes modulo which a key of CVE-2017-15361 ("ROCA"), whose factors can be computed, is a power of
# 65537, as one in 200 million other keys is.
ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
# Edwards25519 (RFC 8032, section 5.1): the field, and the five y of its points of small order.
FIELD = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = frozenset({0, 1, FIELD - 1, ORDER_8, FIELD - ORDER_8})
# Keys of one kind with the same `kid` that a JWT is tried with: the old one and the new one.
SAME_KID = 2
# In bytes (RFC 7518, section 3.2).
SHORTEST_SECRET = 32
# The reason that is an emergency: the issuer has published what only it may know.
PRIVATE = "is private or secret: the issuer must replace it at once"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, or a shared secret: the old and the new one while it is being replaced.

    It verifies its `algorithms` and no other; `kid` is the name that the issuer gave it.
    """

    kid: str | None
    algorithms: frozenset[str]
    _material: tuple[Any, ...] = field(repr=False)

    def has_signed(self, jwt: ParsedJwt) -> bool:
        """Check the signature of a JWT whose algorithm is among this key's."""
        verify = IMPLEMENTATIONS[jwt.algorithm].verify
        return any(verify(jwt.signed, material, jwt.signature) for material in self._material)


class PassedOver(NamedTuple):
    """A key of a JWK Set that is not used, as the log and operators see it."""

    kid: str
    reason: str

    def __str__(self) -> str:
        return f"the key {self.kid} {self.reason}"


class Keys(NamedTuple):
    """An issuer's keys, and those that were passed over."""

    usable: tuple[Key, ...]
    passed_over: tuple[PassedOver, ...] = ()

    def check_signature(self, jwt: ParsedJwt) -> None:
        """Check that one of the keys has signed a JWT.

        Raises:
            InvalidUserToken: None has, or the JWT's header does not say which one.
        """
        named = [key for key in self.usable if jwt.kid in (None, key.kid)]
        fitting = [key for key in named if jwt.algorithm in key.algorithms]
        if not named or (jwt.kid is None and len(fitting) != 1):
            raise InvalidUserToken("The JWT's header names no key of its issuer.")
        if not fitting:
            raise InvalidUserToken("The JWT's `alg` is not one of its issuer's key.")
        if not any(key.has_signed(jwt) for key in fitting[:SAME_KID]):
            raise InvalidUserToken("The JWT's signature is not its issuer's.")


class _Unusable(Exception):
    """A key is not used; the words are a predicate, of few different ones."""


def read_jwk_set(document: Json) -> Keys:
    """Read a JWK Set; keys that cannot be used are passed over (RFC 7517, section 5).

    Raises:
        ConfigurationError: It is not a JWK Set.
    """
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ConfigurationError('A JWK Set is an object {"keys": [...]}')
    usable, passed_over = [], []
    for jwk in members:
        kid = jwk.get("kid") if isinstance(jwk, dict) else None
        try:
            usable.append(_read_jwk(jwk))
        except _Unusable as error:
            shown = repr(kid) if is_plain(kid, LONGEST_KID) else "without a proper kid"
            passed_over.append(PassedOver(shown, str(error)))
    return Keys(tuple(usable), tuple(passed_over))


def read_secret(secrets: bytes) -> Keys:
    """Read a shared secret for HS256; several while one is being replaced, one on each line.

    Raises:
        ConfigurationError: It is too short, or it is not a secret.
    """
    prepare = IMPLEMENTATIONS[HMAC].prepare_key
    try:
        # PyJWT recognises a public key or a certificate, by all lines of it.
        _, *material = map(prepare, (secrets, *secrets.split(b"\n")))
    except InvalidKeyError:
        material = [b""]
    if min(map(len, material)) < SHORTEST_SECRET:
        raise ConfigurationError(
            "Each line of a shared secret is at least 32 random bytes, and not a public key"
        )
    return Keys((Key(None, frozenset({HMAC}), tuple(material)),))


def _read_jwk(jwk: Json) -> Key:
    if not isinstance(jwk, dict):
        raise _Unusable("is not an object")
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise _Unusable(PRIVATE)
    kid = jwk.get("kid")
    if "kid" in jwk and not is_plain(kid, LONGEST_KID):
        raise _Unusable(f"has a kid that is not text of 1 to {LONGEST_KID} characters")
    algorithms = _algorithms(jwk)
    try:
        material = IMPLEMENTATIONS[min(algorithms)].from_jwk(jwk)
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError):
        raise _Unusable("is malformed") from None
    _check_strength(material)
    return Key(kid if isinstance(kid, str) else None, algorithms, (material,))


def _algorithms(jwk: dict[str, Json]) -> frozenset[str]:
    """Return the algorithms that a key may verify: all of its kind, or the one that it names."""
    if jwk.get("use", "sig") != "sig":
        raise _Unusable("has a `use` other than sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _Unusable("has `key_ops` without verify")
    kind = (jwk.get("kty"), jwk.get("crv"))
    of_kind = next((known for one, known in ALGORITHMS_OF.items() if one == kind), None)
    if of_kind is None:
        raise _Unusable("has a `kty` or `crv` that no accepted algorithm has")
    named = of_kind.intersection([str(jwk["alg"])]) if "alg" in jwk else of_kind
    if not named:
        raise _Unusable("has an `alg` that is not accepted for its kind")
    return named


def _check_strength(material: Any) -> None:
    if isinstance(material, RSAPublicKey):
        if material.key_size not in RSA_BITS:
            raise _Unusable("has less than 2048 or more than 8192 bits")
        if material.public_numbers().e not in RSA_EXPONENTS:
            raise _Unusable("has an exponent below 65537 or above 32 bits")
        modulus = material.public_numbers().n
        if all(modulus % p in {pow(65537, k, p) for k in range(p)} for p in ROCA_PRIMES):
            raise _Unusable("is one of those that CVE-2017-15361 makes weak")
    if isinstance(material, Ed25519PublicKey):
        y = int.from_bytes(material.public_bytes_raw(), "little") % 2**255
        if y % FIELD in SMALL_ORDER:
            raise _Unusable("is of small order: anyone can sign for it")
