"""Makers of JWTs that are genuine except for one thing, for the tables of attacks."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.issuer import (
    AUDIENCE,
    ISSUER,
    NOW,
    SECRET,
    Signer,
    encoded,
    forge,
    secret_signer,
    signer,
)

RSA, EC, ED = signer("RS256", "rsa"), signer("ES256", "ec"), signer("EdDSA", "ed")
SECRET_ISSUER, HMAC = "https://secret.example/", secret_signer()
# For all algorithms of RSA, as it names none, and for another one than most.
ANY, PSS = signer("RS384", "any"), signer("PS384", "pss")
EC384 = signer("ES384", "ec384")
OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# The keys that the issuer publishes: two for RS256, so that a kid is needed to tell which.
ANY_JWK = {name: value for name, value in ANY.jwk.items() if name != "alg"}
PUBLISHED = [RSA.jwk, EC.jwk, ED.jwk, signer(kid="next").jwk, ANY_JWK, PSS.jwk, EC384.jwk]
# Another partner's key, under a name that the first partner's key has too.
OTHER_ISSUER, OTHER = "https://other.example/", Signer("RS256", "rsa", signer(kid="other").private)
THIEF = Signer("RS256", "rsa", signer(kid="thief").private)
# The order of the base point of edwards25519 (RFC 8032, section 5.1).
ORDER = 2**252 + 27742317777372353535851937790883648493
# That of P-256 (FIPS 186-4, section D.1.2.3).
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
URL = "https://thief.example/keys.json"

# What the refusals say.
ALG = "`alg` is not"
AUD = "`aud` does not"
AUD_FORM = "`aud` is neither"
BASE64 = "not encoded in base64url"
EXP = "`exp` is not a number"
EXPIRED = "has expired"
FLAG = "`is_test_user` is neither"
IAT = "`iat` is not a number"
ISS = "`iss` is missing or is not"
JSON = "The JSON of the JWT's"
KEY = "names no key"
KID = "`kid` is not text"
LARGE = "larger than 8 KiB"
MISMATCH = "belong to different partners"
NBF = "`nbf` is not a number"
PARTS = "three parts"
SIGNATURE = "signature is not"
SUB = "`sub` is not plain text"
SOON = "not valid yet"
STRANGER = "not registered"
TYP = "`typ` is neither"

Forged = Callable[[], str]


def header(by: Signer = RSA, **members: Any) -> Forged:
    return lambda: forge(members, by=by)


def claims(by: Signer = RSA, **members: Any) -> Forged:
    return lambda: forge({}, members, by=by)


def signed(by: Signer, how: bytes | Callable[[bytes], bytes], **members: Any) -> Forged:
    return lambda: forge(members, by=by, signature=how)


def secretly(secret: bytes = SECRET, algorithm: str = "HS256", **members: Any) -> Forged:
    by = secret_signer(secret)
    issued = {"iss": SECRET_ISSUER}
    return lambda: forge(members, issued, by=by, signature=lambda m: by.sign(m, algorithm))


def with_public_key(encoding: Encoding, **members: Any) -> Forged:
    """Use the public key as if it were a shared secret."""
    public = RSA.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    by = Signer("HS256", "rsa", public)
    return lambda: forge(members, by=by)


def json_text(more: str | bytes, codec: str = "utf-8", **members: Any) -> Forged:
    """Write claims as no JSON library does: `more` goes before the last brace."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": NOW + 600, **members}
    start = json.dumps(usual)[:-1].encode(codec)
    end = more if isinstance(more, bytes) else (more + "}").encode(codec)
    return lambda: forge({}, start + end, by=RSA)


def whole(text: str | bytes) -> Forged:
    return lambda: forge({}, text, by=RSA)


def header_text(text: str) -> Forged:
    return lambda: forge(text, by=RSA)


def hmac_by(by: Signer, secret: bytes) -> Forged:
    """Use what is public of a key as if it were a shared secret."""
    return lambda: forge(by=Signer("HS256", by.kid, secret))


def public_forms(by: Signer) -> dict[str, bytes]:
    """Return the forms in which a public key is at hand."""
    public = by.private.public_key()
    forms = {
        str(encoding): public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        for encoding in (Encoding.PEM, Encoding.DER)
    }
    return {**forms, "JWK": json.dumps(by.jwk).encode()}


def mislabelled(by: Signer, signed_by: str, named: str) -> Forged:
    """Sign with one algorithm and name another."""
    return lambda: forge({"alg": named}, by=by, signature=lambda m: by.sign(m, signed_by))


def salted(length: int) -> Callable[[bytes], bytes]:
    """Sign with a salt of another length than the digest's (RFC 7518, section 3.5)."""
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), length)
    return lambda message: bytes(ANY.private.sign(message, scheme, hashes.SHA256()))


def modulus(_message: bytes) -> bytes:
    """Return a number as large as the modulus, which no signature is."""
    return int(ANY.private.public_key().public_numbers().n).to_bytes(256, "big")


def written(part: int, change: Callable[[str], str]) -> Forged:
    """Change one part as it is written; the signature is made of what came of it."""

    def forged() -> str:
        # Its parts have lengths that base64 would pad.
        parts = forge({"x": "xx"}, {"x": "x"}, by=RSA).split(".")
        assert all(len(one) % 4 for one in parts)
        parts[part] = change(parts[part])
        if part < 2:
            parts[2] = encoded(RSA.sign(f"{parts[0]}.{parts[1]}".encode(errors="replace")))
        return ".".join(parts)

    return forged


def with_stray_bits(part: str) -> str:
    """Write the same bytes in another way: set a bit that decoders drop."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) ^ 1]


def in_der(message: bytes) -> bytes:
    """Encode an ECDSA signature as X.509 does, not as JOSE does."""
    signature = EC.sign(message)
    r, s = signature[:32], signature[32:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def with_larger_s(message: bytes) -> bytes:
    """Add the group's order to S: the same equation holds (RFC 8032, section 5.1.7)."""
    signature = ED.sign(message)
    s = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + s.to_bytes(32, "little")


class Attack(NamedTuple):
    """One row: where RFC 8725 warns of it, what it is, how it is forged, what the refusal says."""

    section: str
    name: str
    forged: Forged
    words: str
