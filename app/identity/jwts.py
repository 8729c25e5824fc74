"""Parses users' JWTs (RFC 7519), strictly, before anything in them is relied on.

Libraries verify a JWT while they parse it, with a key that is known beforehand; here the issuer,
and so the key, is known only after parsing. And they accept what RFC 8725 warns of: padding,
duplicate names, NaN, parameters that bring a key along. PyJWT verifies the signatures (keys.py).
"""

import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeGuard

from app.errors import InvalidUserToken
from app.strict_json import InvalidJson, Json
from app.strict_json import parse as parse_json

# The algorithms of published keys (RFC 7518, section 3.1, and RFC 8037). HS256 is for secrets only.
PUBLIC_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"}
)
HMAC = "HS256"
ALGORITHMS = PUBLIC_ALGORITHMS | {HMAC}
# How far the issuer's clock and ours may differ, in seconds.
LEEWAY = 30
# In characters, all of them ASCII. Common proxies refuse larger headers anyway.
LONGEST_JWT = 8 * 1024
# In characters: what the tables hold.
LONGEST_KID, LONGEST_ISSUER = 255, 1000
# Header parameters that choose a key, change what is signed, or mark a JWT inside the JWT.
REFUSED_PARAMETERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "cty"})
TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# Control characters, some of which PostgreSQL refuses, and surrogates, which UTF-8 does not have.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class ParsedJwt(NamedTuple):
    """A JWT that was parsed and not verified: nothing in it can be relied on."""

    kid: str | None
    algorithm: str
    issuer: str
    audiences: AbstractSet[str]
    claims: dict[str, Json]
    signed: bytes
    signature: bytes

    @property
    def issued_at(self) -> float:
        """Its `iat` in seconds since the epoch; a time to come where it does not have one."""
        time = self.claims.get("iat")
        return time if isinstance(time, int | float) else math.inf


def parse(jwt: str) -> ParsedJwt:
    """Parse a JWT in JWS compact serialization (RFC 7515, section 3.1).

    Raises:
        InvalidUserToken: It is malformed, or does not say who can verify it, and how.
    """
    if len(jwt) > LONGEST_JWT:
        raise InvalidUserToken("The JWT is larger than 8 KiB.")
    parts = jwt.split(".", 3)
    if len(parts) != 3:
        raise InvalidUserToken("The JWT does not have the three parts of a signed JWT.")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    if not REFUSED_PARAMETERS.isdisjoint(header):
        name = min(REFUSED_PARAMETERS.intersection(header))
        raise InvalidUserToken(f"The JWT's header has the parameter `{name}`: it is not accepted.")
    kind, algorithm, kid = header.get("typ", "JWT"), header.get("alg"), header.get("kid", "")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise InvalidUserToken("The JWT's `typ` is neither `JWT` nor `at+jwt`.")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidUserToken("The JWT's `alg` is not an accepted algorithm.")
    if not isinstance(kid, str) or len(kid) > LONGEST_KID:
        raise InvalidUserToken(f"The JWT's `kid` is not text of {LONGEST_KID} characters at most.")
    issuer, audiences = claims.get("iss"), _audiences(claims)
    if not is_plain(issuer, LONGEST_ISSUER):
        raise InvalidUserToken("The JWT's `iss` is missing or is not plain text.")
    named = kid if "kid" in header else None
    signed, signature = f"{parts[0]}.{parts[1]}".encode(), _decoded(parts[2])
    return ParsedJwt(named, algorithm, issuer, audiences, claims, signed, signature)


def is_plain(text: object, longest: int) -> TypeGuard[str]:
    """Check that it is text of 1 to `longest` characters without control characters."""
    return isinstance(text, str) and 0 < len(text) <= longest and not UNPRINTABLE.search(text)


def _object(part: str, what: str) -> dict[str, Json]:
    try:
        members = parse_json(_decoded(part))
    except InvalidJson as error:
        raise InvalidUserToken(f"The JSON of the JWT's {what} {error}.") from None
    if not isinstance(members, dict):
        raise InvalidUserToken(f"The JSON of the JWT's {what} is not an object.")
    return members


def _decoded(part: str) -> bytes:
    """Decode base64url; only what the same bytes encode to is accepted (RFC 7515, section 2)."""
    try:
        decoded = urlsafe_b64decode(part + "==")
        if urlsafe_b64encode(decoded).rstrip(b"=") == part.encode():
            return decoded
    except ValueError:
        pass
    raise InvalidUserToken("A part of the JWT is not encoded in base64url.")


def _audiences(claims: dict[str, Json]) -> AbstractSet[str]:
    """Read `aud`: one name, or an array of names (RFC 7519, section 4.1.3)."""
    if "aud" not in claims:
        raise InvalidUserToken("The JWT has no `aud`.")
    given = claims["aud"]
    names = given if isinstance(given, list) else [given]
    if not all(isinstance(name, str) for name in names):
        raise InvalidUserToken("The JWT's `aud` is neither text nor an array of texts.")
    return {str(name) for name in names}
