"""Attacks on JWTs, by the sections of RFC 8725 that warn of them: each is refused.

Each row forges one JWT that is genuine but for the attack, and goes through the front door,
`Identity.user_of`, with issuers registered in a real database.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from identity.test_issuers_standin import (
    AUDIENCE,
    ISSUER,
    LEFT_OUT,
    NOW,
    SECRET,
    Clock,
    Signer,
    encoded,
    forge,
    secret_signer,
    signer,
)
from sqlalchemy import Engine, create_engine

from app.errors import InvalidUserToken, UsersApiError, UserTokenExpired
from app.identity import registry
from app.identity.credentials import Identity
from app.storage.tables import metadata

pytestmark = pytest.mark.anyio

RSA, EC, ED = signer("RS256", "rsa"), signer("ES256", "ec"), signer("EdDSA", "ed")
SECRET_ISSUER, HMAC = "https://secret.example/", secret_signer()
# Another partner's key, under a name that the first partner's key has too.
OTHER_ISSUER, OTHER = "https://other.example/", Signer("RS256", "rsa", signer(kid="other").private)
THIEF = Signer("RS256", "rsa", signer(kid="thief").private)
# The order of the base point of edwards25519 (RFC 8032, section 5.1).
ORDER = 2**252 + 27742317777372353535851937790883648493
URL = "https://thief.example/keys.json"

# What the refusals say.
ALG = "`alg` is not"
AUD = "`aud` does not"
BASE64 = "not encoded in base64url"
EXP = "`exp` is no"
EXPIRED = "has expired"
FLAG = "`is_test_user` is neither"
IAT = "`iat` is no"
ISS = "`iss` is missing or is no"
JSON = "are no JSON object"
KEY = "names no key"
KID = "`kid` is no text"
LARGE = "larger than 8 KiB"
NBF = "`nbf` is no"
NO_ALG = "no `alg`"
PARAMETER = "parameter that is not accepted"
PARTS = "three parts"
SIGNATURE = "signature is not"
SUB = "`sub` is no"
SOON = "not valid yet"
STRANGER = "not registered"
TYP = "`typ` is another"

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


ATTACKS = [
    # Weak signatures and insufficient signature validation: perform algorithm verification.
    Attack("2.1, 3.1", "none, unsigned", signed(RSA, b"", alg="none"), ALG),
    Attack("2.1, 3.1", "None, unsigned", signed(RSA, b"", alg="None"), ALG),
    Attack("2.1, 3.1", "nOnE, signed", header(alg="nOnE"), ALG),
    Attack("2.1, 3.1", "none, no kid", signed(RSA, b"", alg="none", kid=LEFT_OUT), KEY),
    Attack("2.1, 3.1", "none, for a secret", secretly(alg="none"), KEY),
    Attack("2.1, 3.1", "alg empty", header(alg=""), ALG),
    Attack("2.1, 3.1", "alg missing", header(alg=LEFT_OUT), NO_ALG),
    Attack("2.1, 3.1", "alg a list", header(alg=["RS256"]), NO_ALG),
    Attack("2.1, 3.1", "alg null", header(alg=None), NO_ALG),
    Attack("2.1, 3.1", "alg in lower case", header(alg="rs256"), ALG),
    Attack("2.1, 3.1", "HMAC by the public key, PEM", with_public_key(Encoding.PEM), ALG),
    Attack("2.1, 3.1", "HMAC by the public key, DER", with_public_key(Encoding.DER), ALG),
    Attack("2.1, 3.1", "the same as RS256", with_public_key(Encoding.PEM, alg="RS256"), SIGNATURE),
    Attack("2.1, 3.1", "RSA for a secret", claims(iss=SECRET_ISSUER), KEY),
    Attack("2.1, 3.1", "HS512 by the secret", secretly(algorithm="HS512", alg="HS512"), KEY),
    Attack("2.1, 3.1", "HS512 as HS256", secretly(algorithm="HS512"), SIGNATURE),
    Attack("2.1, 3.1", "RS512", signed(RSA, lambda m: RSA.sign(m, "RS512"), alg="RS512"), ALG),
    Attack("2.1, 3.1", "PS256", signed(RSA, lambda m: RSA.sign(m, "PS256"), alg="PS256"), ALG),
    Attack("2.1, 3.1", "PS256 as RS256", signed(RSA, lambda m: RSA.sign(m, "PS256")), SIGNATURE),
    Attack("2.1, 3.1", "the alg of another key", header(kid="ec"), ALG),
    Attack("2.1, 3.1", "the kid and alg of another key", header(kid="ec", alg="ES256"), SIGNATURE),
    # Weak symmetric keys: ensure that keys have sufficient entropy.
    Attack("2.2, 3.5", "HMAC by nothing", secretly(b""), SIGNATURE),
    Attack("2.2, 3.5", "HMAC by most of the secret", secretly(SECRET[:-1]), SIGNATURE),
    # Validate all cryptographic operations.
    Attack("3.3", "signature stripped", signed(RSA, b""), SIGNATURE),
    Attack("3.3", "signature and dot stripped", lambda: forge(by=RSA).rpartition(".")[0], PARTS),
    Attack("3.3", "signature cut", signed(RSA, lambda m: RSA.sign(m)[:-1]), SIGNATURE),
    Attack("3.3", "signature extended", signed(RSA, lambda m: RSA.sign(m) + b"\0"), SIGNATURE),
    Attack("3.3", "signature of another JWT", signed(RSA, lambda _: RSA.sign(b"a.b")), SIGNATURE),
    Attack(
        "3.3", "signature of the claims alone", signed(RSA, lambda m: RSA.sign(m[20:])), SIGNATURE
    ),
    Attack("3.3", "ECDSA of zeros", signed(EC, bytes(64)), SIGNATURE),
    Attack("3.3", "ECDSA empty", signed(EC, b""), SIGNATURE),
    Attack("3.3", "ECDSA in DER", signed(EC, in_der), SIGNATURE),
    Attack("3.3", "EdDSA of zeros", signed(ED, bytes(64)), SIGNATURE),
    Attack("3.3", "EdDSA too short", signed(ED, bytes(63)), SIGNATURE),
    Attack("3.3", "EdDSA with a larger S", signed(ED, with_larger_s), SIGNATURE),
    Attack("3.3", "signed by a stranger", header(by=THIEF), SIGNATURE),
    Attack("3.3", "crit with the unknown", header(crit=["x"], x=1), PARAMETER),
    Attack("3.3", "crit empty", header(crit=[]), PARAMETER),
    Attack("3.3", "crit with the known", header(crit=["exp"], exp=NOW), PARAMETER),
    Attack("3.3", "b64 false", header(b64=False, crit=["b64"]), PARAMETER),
    Attack("3.3", "b64 false, not crit", header(b64=False), PARAMETER),
    # Base64url, and only one way to write the same bytes (RFC 7515, section 2).
    Attack("3.3", "header padded", written(0, lambda part: part + "="), BASE64),
    Attack("3.3", "claims padded", written(1, lambda part: part + "=="), BASE64),
    Attack("3.3", "signature padded", written(2, lambda part: part + "=="), BASE64),
    Attack("3.3", "stray bits in the header", written(0, with_stray_bits), BASE64),
    Attack("3.3", "stray bits in the claims", written(1, with_stray_bits), BASE64),
    Attack("3.3", "stray bits in the signature", written(2, with_stray_bits), BASE64),
    Attack("3.3", "newline inside", written(1, lambda part: part[:8] + "\n" + part[8:]), BASE64),
    Attack("3.3", "tab inside", written(1, lambda part: part[:8] + "\t" + part[8:]), BASE64),
    Attack("3.3", "newline at the end", written(2, lambda part: part + "\n"), BASE64),
    Attack("3.3", "NUL at the end", written(2, lambda part: part + "\0"), BASE64),
    Attack("3.3", "space at the start", written(0, lambda part: " " + part), BASE64),
    Attack("3.3", "the alphabet of base64", written(2, lambda part: f"+/{part[2:]}"), BASE64),
    Attack("3.3", "a letter that is not ASCII", written(1, lambda part: part + "é"), BASE64),
    Attack("3.3", "half a character", written(2, lambda part: part + "\ud800"), BASE64),
    Attack(
        "3.3", "a letter too few", written(1, lambda part: part[: len(part) // 4 * 4 + 1]), BASE64
    ),
    Attack("3.3", "nothing", lambda: "", PARTS),
    Attack("3.3", "two dots", lambda: "..", JSON),
    Attack("3.3", "four parts", written(2, lambda part: part + "."), PARTS),
    Attack("3.3", "8,000 dots", lambda: "." * 8000, PARTS),
    Attack("3.3", "larger than 8 KiB", claims(x="x" * 6000), LARGE),
    # Validate cryptographic inputs; do not trust received claims: keys that the JWT brings along.
    Attack("3.4, 3.10", "jwk", header(by=THIEF, jwk=THIEF.jwk), PARAMETER),
    Attack("3.4, 3.10", "jwk, well signed", header(jwk=THIEF.jwk), PARAMETER),
    Attack("2.9, 3.10", "jku", header(jku=URL), PARAMETER),
    Attack("2.9, 3.10", "jku null", header(jku=None), PARAMETER),
    Attack("2.9, 3.10", "x5u", header(x5u=URL), PARAMETER),
    Attack("2.9, 3.10", "x5c", header(x5c=["MIIB"]), PARAMETER),
    Attack("3.10", "kid unknown", header(kid="unknown"), KEY),
    Attack("3.10", "kid a path", header(kid="../../../dev/null"), KEY),
    Attack("3.10", "kid with SQL", header(kid="' OR '1'='1' --"), KEY),
    Attack("3.10", "kid with half a character", header(kid="\ud800"), KEY),
    Attack("3.10", "kid empty", header(kid=""), KEY),
    Attack("3.10", "kid missing, two keys", header(kid=LEFT_OUT), KEY),
    Attack("3.10", "kid for a secret", secretly(kid="x"), KEY),
    Attack("3.10", "kid too long", header(kid="k" * 256), KID),
    Attack("3.10", "kid a number", header(kid=0), KID),
    Attack("3.10", "kid null", header(kid=None), KID),
    Attack("3.10", "kid an object", header(kid={}), KID),
    # Plaintext leakage by compression; incorrect composition: all that is no plain signed JWT.
    Attack("2.4, 3.6", "compressed", whole(zlib.compress(b"{}")), JSON),
    Attack("2.4, 3.6", "compressed with gzip", whole(gzip.compress(b"{}")), JSON),
    Attack("2.4, 3.11", "nested, with cty", header(cty="JWT"), PARAMETER),
    Attack("2.4, 3.11", "nested, with no cty", lambda: forge({}, forge(by=RSA), by=RSA), JSON),
    Attack("2.4, 3.11", "encrypted", lambda: encoded({"alg": "dir"}) + ".a.b.c.d", PARTS),
    Attack("2.4, 3.11", "JSON serialization", lambda: '{"payload": "e30"}', PARTS),
    # Multiplicity of JSON encodings: use UTF-8, and refuse what parsers read in different ways.
    Attack("2.6, 3.7", "UTF-16", json_text("", "utf-16"), JSON),
    Attack("2.6, 3.7", "UTF-16 with no mark", json_text("", "utf-16-le"), JSON),
    Attack("2.6, 3.7", "UTF-32", json_text("", "utf-32-be"), JSON),
    Attack("2.6, 3.7", "UTF-8 with a mark", json_text("", "utf-8-sig"), JSON),
    Attack("2.6, 3.7", "Latin-1", json_text(', "x": "é"', "latin-1"), JSON),
    Attack("2.6, 3.7", "UTF-8 in too many bytes", json_text(b', "x": "\xc0\xaf"}'), JSON),
    Attack("2.6, 3.7", "half a character in UTF-8", json_text(b', "x": "\xed\xa0\x80"}'), JSON),
    Attack("2.6, 3.7", "two subs", json_text(', "sub": "victim"'), JSON),
    Attack("2.6, 3.7", "the same sub twice", json_text(', "sub": "user-1"'), JSON),
    Attack("2.6, 3.7", "two subs, one escaped", json_text(r', "\u0073ub": "victim"'), JSON),
    Attack("2.6, 3.7", "two members deep inside", json_text(', "x": [{"y": 1, "y": 2}]'), JSON),
    Attack("2.6, 3.7", "two algs", header_text('{"alg": "none", "alg": "RS256"}'), JSON),
    Attack("2.6, 3.7", "NaN", json_text(', "x": NaN'), JSON),
    Attack("2.6, 3.7", "exp NaN", json_text("", exp=float("nan")), JSON),
    Attack("2.6, 3.7", "exp Infinity", json_text("", exp=float("inf")), JSON),
    Attack("2.6, 3.7", "1e999", json_text(', "x": 1e999'), JSON),
    Attack("2.6, 3.7", "-1e999", json_text(', "x": -1e999'), JSON),
    Attack("2.6, 3.7", "21 digits", json_text(f', "x": {"9" * 21}'), JSON),
    Attack("2.6, 3.7", "5,000 digits", json_text(f', "x": {"9" * 5000}'), JSON),
    Attack("2.6, 3.7", "nested deep", json_text(f', "x": {"[" * 5000}'), JSON),
    Attack("2.6, 3.7", "more after the claims", json_text(b"}{}"), JSON),
    Attack("2.6, 3.7", "a comment", json_text("/**/"), JSON),
    Attack("2.6, 3.7", "a control character", json_text(', "x": "\n"'), JSON),
    Attack("2.6, 3.7", "claims a list", whole("[]"), JSON),
    Attack("2.6, 3.7", "claims null", whole("null"), JSON),
    Attack("2.6, 3.7", "header a list", header_text('[["alg", "RS256"]]'), JSON),
    Attack("2.6, 3.7", "header a text", header_text('"RS256"'), JSON),
    # Substitution attacks: validate issuer and subject.
    Attack("2.7, 3.8", "the key of another issuer", header(by=OTHER), SIGNATURE),
    Attack("2.7, 3.8", "the name of another issuer", claims(iss=OTHER_ISSUER), SIGNATURE),
    Attack("2.7, 3.8", "iss missing", claims(iss=LEFT_OUT), ISS),
    Attack("2.7, 3.8", "iss a list", claims(iss=[ISSUER]), ISS),
    Attack("2.7, 3.8", "iss empty", claims(iss=""), ISS),
    Attack("2.7, 3.8", "iss with NUL", claims(iss=ISSUER + "\0"), ISS),
    Attack("2.7, 3.8", "iss with half a character", claims(iss="\udfff"), ISS),
    Attack("2.7, 3.8", "iss too long", claims(iss="x" * 1001), ISS),
    Attack("2.7, 3.8", "iss unknown", claims(iss="https://thief.example/"), STRANGER),
    Attack("2.7, 3.8", "iss with no slash", claims(iss=ISSUER[:-1]), STRANGER),
    Attack("2.7, 3.8", "iss in capitals", claims(iss=ISSUER.upper()), STRANGER),
    Attack("2.7, 3.8", "iss with SQL", claims(iss="' OR 1=1 --"), STRANGER),
    Attack("2.7, 3.8", "iss a pattern", claims(iss="https://%"), STRANGER),
    Attack("3.8", "sub missing", claims(sub=LEFT_OUT), SUB),
    Attack("3.8", "sub empty", claims(sub=""), SUB),
    Attack("3.8", "sub null", claims(sub=None), SUB),
    Attack("3.8", "sub a number", claims(sub=1), SUB),
    Attack("3.8", "sub true", claims(sub=True), SUB),
    Attack("3.8", "sub a list", claims(sub=["user-1"]), SUB),
    Attack("3.8", "sub too long", claims(sub="s" * 256), SUB),
    Attack("3.8", "sub with NUL", claims(sub="user-1\0"), SUB),
    Attack("3.8", "sub with a newline", claims(sub="user-1\n"), SUB),
    Attack("3.8", "sub with a C1 control", claims(sub="user-1\x85"), SUB),
    Attack("3.8", "sub with half a character", claims(sub="\ud800"), SUB),
    # Use and validate audience.
    Attack("3.9", "aud missing", claims(aud=LEFT_OUT), AUD),
    Attack("3.9", "aud another", claims(aud="https://bank.example"), AUD),
    Attack("3.9", "aud longer", claims(aud=AUDIENCE + ".thief.example"), AUD),
    Attack("3.9", "aud shorter", claims(aud=AUDIENCE[:-1]), AUD),
    Attack("3.9", "aud a list of others", claims(aud=["other", "x"]), AUD),
    Attack("3.9", "aud an empty list", claims(aud=[]), AUD),
    Attack("3.9", "aud a mixed list", claims(aud=[AUDIENCE, 1]), AUD),
    Attack("3.9", "aud an object", claims(aud={AUDIENCE: 1}), AUD),
    Attack("3.9", "aud null", claims(aud=None), AUD),
    Attack("3.9", "aud of another issuer", claims(aud="other"), AUD),
    # Cross-JWT confusion: use explicit typing, and rules that exclude other kinds of JWTs.
    Attack("2.8, 3.11, 3.12", "typ of a logout token", header(typ="logout+jwt"), TYP),
    Attack("2.8, 3.11, 3.12", "typ of a security event", header(typ="secevent+jwt"), TYP),
    Attack("2.8, 3.11, 3.12", "typ of a proof of possession", header(typ="dpop+jwt"), TYP),
    Attack("2.8, 3.11, 3.12", "typ of JSON serialization", header(typ="JOSE+JSON"), TYP),
    Attack("2.8, 3.11, 3.12", "typ a number", header(typ=1), TYP),
    Attack("2.8, 3.11, 3.12", "typ null", header(typ=None), TYP),
    # Do not trust received claims: times (RFC 7519, section 4.1), and a claim of our own.
    Attack("3.10", "exp missing", claims(exp=LEFT_OUT), "no `exp`"),
    Attack("3.10", "exp a text", claims(exp=str(NOW + 600)), EXP),
    Attack("3.10", "exp true", claims(exp=True), EXP),
    Attack("3.10", "exp null", claims(exp=None), EXP),
    Attack("3.10", "exp a list", claims(exp=[NOW + 600]), EXP),
    Attack("3.10", "exp negative", claims(exp=-1), EXP),
    Attack("3.10", "exp after the year 9999", claims(exp=253_402_300_800), EXP),
    Attack("3.10", "exp 1e300", claims(exp=1e300), EXP),
    Attack("3.10", "expired just now", claims(exp=NOW - 30), EXPIRED),
    Attack("3.10", "expired long ago", claims(exp=0), EXPIRED),
    Attack("3.10", "expired and forged", claims(by=THIEF, exp=0), SIGNATURE),
    Attack("3.10", "expired and for others", claims(exp=0, aud="other"), AUD),
    Attack("3.10", "expired and of nobody", claims(exp=0, sub=""), SUB),
    Attack("3.10", "expired and not valid yet", claims(exp=0, nbf=NOW + 99), SOON),
    Attack("3.10", "not valid yet", claims(nbf=NOW + 31), SOON),
    Attack("3.10", "nbf a text", claims(nbf="0"), NBF),
    Attack("3.10", "nbf false", claims(nbf=False), NBF),
    Attack("3.10", "iat a text", claims(iat="0"), IAT),
    Attack("3.10", "iat null", claims(iat=None), IAT),
    Attack("3.10", "is_test_user a text", claims(is_test_user="true"), FLAG),
    Attack("3.10", "is_test_user a number", claims(is_test_user=1), FLAG),
    Attack("3.10", "is_test_user null", claims(is_test_user=None), FLAG),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('attacks')}/users.db")
    metadata.create_all(engine)
    # Two keys for RS256, so that a kid is needed to tell which.
    jwks = {"keys": [RSA.jwk, EC.jwk, ED.jwk, signer(kid="next").jwk]}
    registry.add_issuer(engine, "Acme", ISSUER, AUDIENCE, jwks=jwks)
    registry.add_issuer(engine, "Acme", SECRET_ISSUER, AUDIENCE, shared_secret=SECRET)
    registry.add_issuer(engine, "Other", OTHER_ISSUER, "other", jwks={"keys": [OTHER.jwk]})
    yield engine
    engine.dispose()


@pytest.fixture
def identity(engine: Engine) -> Identity:
    return Identity(engine, clock=Clock())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.section}: {attack.name}")
async def test_an_attack_is_refused(attack: Attack, identity: Identity) -> None:
    """For its own reason, and with an answer that repeats nothing of it."""
    forged = attack.forged()
    with pytest.raises(UsersApiError) as refused:
        await identity.user_of(forged)
    expected = UserTokenExpired if attack.words == EXPIRED else InvalidUserToken
    assert type(refused.value) is expected
    assert attack.words in refused.value.detail
    assert refused.value.inner is None
    assert not [part for part in forged.split(".") if len(part) > 8 and part in str(refused.value)]


@pytest.mark.parametrize(
    "genuine",
    [
        header(by=RSA),
        header(by=EC),
        header(by=ED),
        secretly(),
        claims(by=OTHER, iss=OTHER_ISSUER, aud=["x", "other"]),
        json_text(', "x": {"y": [1, -2.5, 1e3, "é", null, 99999999999999999999]}'),
        whole(json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": NOW + 1})),
        written(1, lambda part: part),
    ],
)
async def test_what_the_attacks_are_made_of_is_accepted(
    genuine: Forged, identity: Identity
) -> None:
    """So each attack fails for what it changes, and not for what it is made of."""
    assert (await identity.user_of(genuine())).subject == "user-1"
