"""JWTs and the keys they are signed with, strictly, as RFC 8725 advises.

PyJWT's algorithms do the cryptography. Its parser takes padding, duplicate members and NaN, and
a JWT must be read before its issuer, and so its key, is known: so it is read here, and once.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm, ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from app.errors import ConfigurationError, InvalidUserToken, UserTokenExpired
from app.strict_json import parse

# In characters, all of them ASCII.
LONGEST_JWT = 8 * 1024
LONGEST_KID = 255
LONGEST_NAME = 255
# How far the issuer's clock and ours may differ, in seconds.
LEEWAY = 30
# The last second of the year 9999: a time beyond it is none.
LATEST = 253_402_300_799
# Headers that choose a key, change what is signed, or stand for a JWT inside the JWT.
REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "cty"})
TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# Control characters, which PostgreSQL refuses in part, and halves of characters.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
EMAIL = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff@<>(),:;\"\\\[\]]+"
    r"@[^\W_]+(?:(?:\.|-+)[^\W_]+)*\.[^\W_]{2,}"
)

ALGORITHMS: dict[str, Algorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "EdDSA": OKPAlgorithm(),
    "HS256": HMACAlgorithm(HMACAlgorithm.SHA256),
}
# The algorithm that goes with each type and curve of published keys: exactly one, and no HMAC.
ALGORITHM_OF = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
# RFC 7518, sections 6.2.2, 6.3.2 and 6.4; `priv` is that of newer types of key.
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
# Below: SP 800-131A. Above: each verification would cost milliseconds.
RSA_BITS = range(2048, 8192 + 1)
# FIPS 186-5, section A.1.1, with a lower ceiling for speed.
RSA_EXPONENTS = range(2**16 + 1, 2**32, 2)
# Edwards25519 (RFC 8032, section 5.1): the field, and the five y of its points of small order.
FIELD = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = frozenset({0, 1, FIELD - 1, ORDER_8, FIELD - ORDER_8})
SHORTEST_SECRET = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A key to verify with; where a shared secret is being replaced, the old one and the new.

    Attributes:
        kid: its name, if the issuer gave it one.
        algorithm: the only one that its JWTs may be signed with.
    """

    kid: str | None
    algorithm: str
    _material: tuple[Any, ...] = field(repr=False)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature is this key's."""
        verify = ALGORITHMS[self.algorithm].verify
        return any(verify(message, material, signature) for material in self._material)


class Keys:
    """All the keys of an issuer."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)
        self._by_kid = {key.kid: key for key in self._keys if key.kid is not None}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Find the key that a JWT's header means; without a `kid`, only where just one fits."""
        if kid is not None:
            return self._by_kid.get(kid)
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None


class Token(NamedTuple):
    """A JWT that was read and not verified: nothing in it is to be believed."""

    kid: str | None
    algorithm: str
    issuer: str
    claims: dict[str, Any]
    message: bytes
    signature: bytes


class Claims(NamedTuple):
    """What a verified JWT says of its user."""

    subject: str
    email: str | None
    is_test: bool
    given_name: str | None = None
    family_name: str | None = None


def published_keys(jwks: object) -> Keys:
    """Check and take the keys of a JWK Set (RFC 7517); those for other uses are passed over.

    Raises:
        ConfigurationError: one key is bad, and so the set cannot be trusted.
    """
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list) or not all(isinstance(jwk, dict) for jwk in members):
        raise ConfigurationError('A JWK Set is an object {"keys": [...]} with objects in it')
    kids = Counter(jwk["kid"] for jwk in members if _has_proper_kid(jwk))
    if kids and max(kids.values()) > 1:
        raise ConfigurationError("Two keys of the JWK Set have the same kid")
    return Keys(key for jwk in members if (key := _published_key(jwk)))


def secret_key(secrets: bytes) -> Keys:
    """Check and take a shared secret for HS256, or several, one on each line.

    Raises:
        ConfigurationError: it is too short (RFC 7518, section 3.2), or is no secret.
    """
    prepare = ALGORITHMS["HS256"].prepare_key
    lines = secrets.split(b"\n")
    try:
        if secrets:
            prepare(secrets)  # which knows a key or certificate of others by its lines
        if min(map(len, lines)) < SHORTEST_SECRET:
            raise ConfigurationError(f"A shared secret has at least {SHORTEST_SECRET} random bytes")
        material = tuple(map(prepare, lines))
    except InvalidKeyError:
        raise ConfigurationError("The shared secret is a key or certificate of others") from None
    return Keys([Key(None, "HS256", material)])


def read(text: str) -> Token:
    """Read a JWT in JWS compact serialization (RFC 7515, section 3.1), strictly.

    Raises:
        InvalidUserToken: it is anything else, or demands what only the issuer's keys decide.
    """
    if len(text) > LONGEST_JWT:
        raise InvalidUserToken("The JWT is larger than 8 KiB.")
    parts = text.split(".", 3)
    if len(parts) != 3:
        raise InvalidUserToken("The JWT does not have the three parts of a signed one.")
    header = _members(parts[0])
    claims = _members(parts[1])
    if not REFUSED_HEADERS.isdisjoint(header):
        raise InvalidUserToken("The JWT's header has a parameter that is not accepted.")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise InvalidUserToken("The JWT's `typ` is another than `JWT` or `at+jwt`.")
    algorithm, kid, issuer = header.get("alg"), header.get("kid"), claims.get("iss")
    if not isinstance(algorithm, str):
        raise InvalidUserToken("The JWT's header has no `alg`.")
    if "kid" in header and not (isinstance(kid, str) and len(kid) <= LONGEST_KID):
        raise InvalidUserToken(f"The JWT's `kid` is no text of {LONGEST_KID} characters at most.")
    if not is_plain(issuer, 1000):
        raise InvalidUserToken("The JWT's `iss` is missing or is no plain text.")
    message = f"{parts[0]}.{parts[1]}".encode()
    return Token(kid, algorithm, issuer, claims, message, _bytes(parts[2]))


def verified(token: Token, key: Key | None, audience: str, now: float) -> Claims:
    """Believe a JWT, or not.

    Args:
        token: as it was read.
        key: the one of its issuer that it names; None where it names none of them.
        audience: who the issuer's JWTs must be meant for.
        now: seconds since the epoch.

    Raises:
        InvalidUserToken: it is forged, or is not meant for us, or says nonsense.
        UserTokenExpired: all is well with it, save that it is out of date.
    """
    if key is None:
        raise InvalidUserToken("The JWT's header names no key of its issuer.")
    if token.algorithm != key.algorithm:
        raise InvalidUserToken("The JWT's `alg` is not the one of its issuer's key.")
    if not key.has_signed(token.message, token.signature):
        raise InvalidUserToken("The JWT's signature is not its issuer's.")
    claims = token.claims
    if not _is_meant_for(audience, claims.get("aud")):
        raise InvalidUserToken("The JWT's `aud` does not name the audience agreed upon.")
    subject, is_test = claims.get("sub"), claims.get("is_test_user", False)
    if not is_plain(subject, 255):
        raise InvalidUserToken("The JWT's `sub` is no plain text of 1 to 255 characters.")
    if not isinstance(is_test, bool):
        raise InvalidUserToken("The JWT's `is_test_user` is neither true nor false.")
    _check_times(claims, now)
    email = _address(claims.get("email"))
    # OpenID Connect Core 1.0, section 5.1.
    given_name, family_name = _name(claims.get("given_name")), _name(claims.get("family_name"))
    return Claims(subject, email, is_test, given_name, family_name)


def is_plain(text: object, longest: int) -> TypeGuard[str]:
    """Tell whether it is text of 1 to `longest` characters, none of which is a control."""
    return isinstance(text, str) and 0 < len(text) <= longest and not UNPRINTABLE.search(text)


def _members(part: str) -> dict[str, Any]:
    try:
        members = parse(_bytes(part))
    except ValueError:
        members = None
    if not isinstance(members, dict):
        raise InvalidUserToken("The JWT's header or claims are no JSON object.")
    return members


def _bytes(part: str) -> bytes:
    """Decode base64url; only what the same bytes encode to is accepted (RFC 7515, section 2)."""
    try:
        decoded = urlsafe_b64decode(part + "==")
        if urlsafe_b64encode(decoded).rstrip(b"=") == part.encode():
            return decoded
    except ValueError:
        pass
    raise InvalidUserToken("A part of the JWT is not encoded in base64url.")


def _published_key(jwk: dict[str, Any]) -> Key | None:
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise ConfigurationError("The JWK Set holds a private or secret key: replace it at once")
    if "kid" in jwk and not _has_proper_kid(jwk):
        raise ConfigurationError(f"A kid is no text of 1 to {LONGEST_KID} characters")
    algorithm = _algorithm(jwk)
    if algorithm is None:
        return None
    try:
        material = ALGORITHMS[algorithm].from_jwk(jwk)
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, TypeError):
        raise ConfigurationError("A key of the JWK Set is malformed") from None
    if isinstance(material, RSAPublicKey):
        if material.key_size not in RSA_BITS:
            raise ConfigurationError("An RSA key has less than 2048 or more than 8192 bits")
        if material.public_numbers().e not in RSA_EXPONENTS:
            raise ConfigurationError("An RSA key has an exponent other than, say, 65537")
    if isinstance(material, Ed25519PublicKey):
        y = int.from_bytes(material.public_bytes_raw(), "little") % 2**255
        if y % FIELD in SMALL_ORDER:
            raise ConfigurationError("An Ed25519 key is of small order: anybody can sign for it")
    return Key(jwk.get("kid"), algorithm, (material,))


def _algorithm(jwk: dict[str, Any]) -> str | None:
    """Tell the algorithm of a key that is meant to verify JWTs with; None for all others."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list):
        return None
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    algorithm = ALGORITHM_OF.get((kind, curve))
    is_ours = "verify" in operations and jwk.get("alg", algorithm) == algorithm
    return algorithm if is_ours else None


def _has_proper_kid(jwk: dict[str, Any]) -> bool:
    return is_plain(jwk.get("kid"), LONGEST_KID)


def _is_meant_for(audience: str, told: object) -> bool:
    names = told if isinstance(told, list) else [told]
    return all(isinstance(name, str) for name in names) and audience in names


def _check_times(claims: dict[str, Any], now: float) -> None:
    """Check RFC 7519, sections 4.1.4 to 4.1.6; expiry comes last, as all else is well by then."""
    for name in ("exp", "nbf", "iat"):
        time = claims.get(name, 0)
        if type(time) not in (int, float) or not 0 <= time <= LATEST:
            raise InvalidUserToken(f"The JWT's `{name}` is no number of seconds since 1970.")
    if "exp" not in claims:
        raise InvalidUserToken("The JWT has no `exp`.")
    if now + LEEWAY < claims.get("nbf", 0):
        raise InvalidUserToken("The JWT is not valid yet: see its `nbf`.")
    if now - LEEWAY >= claims["exp"]:
        raise UserTokenExpired


def _address(email: object) -> str | None:
    """Give an e-mail address that Stripe may take (RFC 5321, section 4.5.3.1.3); else none."""
    if not isinstance(email, str) or len(email) > 254 or not EMAIL.fullmatch(email):
        return None
    return email


def _name(name: object) -> str | None:
    """Return a name of printable characters; None for anything else."""
    return name if is_plain(name, LONGEST_NAME) else None
