"""JWTs and keys: none is accepted that a stricter implementation would refuse."""

import contextlib
import json
import time
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from fuzz.choices import Choices, choices
from fuzz.inputs import count, inputs
from fuzz.jwts import HMAC, MARK, ODD_JSON, SIGNERS, STRANGER, VALUES, forged
from hypothesis import given
from support.issuer import AUDIENCE, ISSUER, SECRET, Signer, forge, signer
from support.jwt_verification import REGISTRATION
from support.providers import PROVIDERS

from app.errors import ConfigurationError, InvalidUserToken, UserTokenExpired
from app.identity.credentials import read_user
from app.identity.jwks import check_url
from app.identity.jwts import PUBLIC_ALGORITHMS, ParsedJwt
from app.identity.jwts import parse as parse_jwt
from app.identity.keys import Key, Keys, read_jwk_set, read_secret
from app.strict_json import parse

pytestmark = pytest.mark.fuzz

PUBLISHED = read_jwk_set({"keys": [by.jwk for by in SIGNERS]})
SHARED = read_secret(SECRET)
ORACLES: dict[str, Any] = {by.algorithm: jwt.PyJWK(by.jwk).key for by in SIGNERS}
ORACLES["HS256"] = SECRET


def strictly(text: str, algorithm: str) -> dict[str, Any]:
    """Return the claims by PyJWT, told all that it can be told to demand."""
    result: dict[str, Any] = jwt.decode(
        text,
        ORACLES[algorithm],
        algorithms=[algorithm],
        audience=AUDIENCE,
        issuer=ISSUER,
        leeway=31,
        options={"require": ["iss", "aud", "sub", "exp"], "verify_iat": False},
    )
    return result


def check_words(words: str, *sent: str) -> None:
    """Hold what is told of a refusal to be short, one line, and nothing of what was sent."""
    assert 0 < len(words) < 160
    assert "\n" not in words
    assert MARK not in words
    assert not [piece for piece in sent if len(piece) > 12 and piece in words]


@inputs(42_000)
@given(choices)
def test_accepted_jwt_is_accepted_by_pyjwt(choose: Choices) -> None:
    text, by, is_genuine = forged(choose)
    keys = SHARED if by is HMAC else PUBLISHED
    refusal = None
    try:
        parsed = parse_jwt(text)
        keys.check_signature(parsed)
        user = read_user(parsed, REGISTRATION, time.time())
    except (InvalidUserToken, UserTokenExpired) as error:
        refusal = error
    if refusal:
        assert not is_genuine, refusal.detail
        assert refusal.inner is None
        check_words(refusal.detail, *text.split("."))
        count("JWT", refusal.detail)
    elif parsed.issuer != ISSUER or AUDIENCE not in parsed.audiences:
        count("JWT", "of another issuer or audience")
    else:
        result = strictly(text, parsed.algorithm)
        assert (result["sub"], result["iss"]) == (user.subject, ISSUER)
        assert result.get("is_test_user", False) is user.is_test
        assert user.email in (None, result.get("email"))
        count(
            "JWT",
            "accepted, genuine" if is_genuine else "accepted, changed in what is free",
        )


FRAGMENTS = [
    *("1", "{", "}", "[", "]", ",", ":", '"a"', '"b"', '"a":', '"b":1', " ", "\n", "-", ".", "e"),
    *("0", "9" * 20, "true", "false", "null", '"', "\\", "\\u", "d800", "\xe9", "\0", "{}", "[]"),
    *ODD_JSON,
    *(json.dumps(value) for value in VALUES),
]


def json_value(choose: Choices, depth: int = 3) -> Any:
    """Return a value of any type."""
    kind = choose.number(6) if depth else 0
    if kind == 4:
        return [json_value(choose, depth - 1) for _ in range(choose.number(4))]
    if kind == 5:
        names = ["a", "b", "", "keys", "é"]
        return {choose.pick(names): json_value(choose, depth - 1) for _ in range(choose.number(4))}
    return choose.pick(VALUES)


@inputs(22_000)
@given(choices)
def test_json_that_is_taken_is_json_to_others(choose: Choices) -> None:
    text = json.dumps(json_value(choose)) if choose.happens(3) else choose.text(FRAGMENTS, 8)
    encoded = text.encode(choose.pick(["utf-8"] * 7 + ["utf-16"]), errors="surrogatepass")
    value, twice = refused = object(), list[int]()
    with contextlib.suppress(ValueError):
        value = parse(encoded)
    if value is refused[0]:
        count("JSON", "refused")
        return
    assert repr(json.loads(encoded.decode())) == repr(value)
    json.loads(encoded, object_pairs_hook=lambda pairs: twice.append(len(pairs) - len(dict(pairs))))
    assert not any(twice)
    json.dumps(value, allow_nan=False)
    count("JSON", "taken")


PUBLISHED_KEYS = [by.jwk for by in (*SIGNERS, STRANGER)]
PROVIDERS_KEYS = [key for provider in PROVIDERS for key in provider().keys]
# A key that nothing beside it can shut out, and a JWT by it.
GOOD = Signer("ES256", "good", signer("ES256", "good").private)
GENUINE = forge(by=GOOD)
JWK_VALUES = [
    *("RSA", "EC", "OKP", "oct", "P-256", "P-384", "Ed25519", "Ed448", "X25519", "sig", "enc"),
    *("AQAB", "AQ", "Aw", "", "AA", "AAAA", "=", "*", "A" * 43, "A" * 342, "_" * 43, "verify"),
    *("kid", "é", "k" * 300, "\0", "g" + "A" * 341, "_" * 342, ["MIIB"], ["verify"], *VALUES),
]
JWK_NAMES = ["kty", "kid", "use", "alg", "key_ops", "n", "e", "crv", "x", "y", "d", "k", "x5c"]


def jwk(choose: Choices) -> dict[str, Any]:
    """Return a key that is nearly fit."""
    members: dict[str, Any] = dict(choose.pick([*PUBLISHED_KEYS, *PROVIDERS_KEYS]))
    for _ in range(choose.number(3)):
        members[choose.pick(JWK_NAMES)] = choose.pick(JWK_VALUES)
    if choose.happens(5):
        members.pop(choose.pick(JWK_NAMES), None)
    return members


@inputs(10_000)
@given(choices)
def test_keys_that_are_used_are_fit_to_verify_with(choose: Choices) -> None:
    """Whatever stands beside a good key, that one is used, and each odd one has its reason."""
    document: Any = {"keys": [jwk(choose) for _ in range(1 + choose.number(3))]}
    if choose.happens(10):
        document = json_value(choose)
    refusal = None
    try:
        keys = read_jwk_set(document)
    except ConfigurationError as error:
        refusal = str(error)
    if refusal:
        check_words(refusal)
        count("JWK Set", refusal)
        return
    assert len(keys.usable) + len(keys.passed_over) == len(document["keys"])
    for key in keys.usable:
        assert key.algorithms <= PUBLIC_ALGORITHMS
        check_key(key)
    for one in keys.passed_over:
        check_words(one.reason)
        count("JWK", one.reason)
    beside = read_jwk_set({"keys": [*document["keys"], GOOD.jwk]})
    beside.check_signature(parse_jwt(GENUINE))
    assert beside.passed_over == keys.passed_over
    assert len(beside.usable) == len(keys.usable) + 1
    count("JWK Set", "read, with keys" if keys.usable else "read, with none for us")


def check_key(key: Key) -> None:
    (material,) = key._material
    assert not isinstance(material, RSAPublicKey) or 2048 <= material.key_size <= 8192
    for algorithm in key.algorithms:
        for signature in (b"", bytes(64), bytes(96), bytes(256)):
            assert not key.has_signed(ParsedJwt(None, algorithm, "", set(), {}, b"a.b", signature))


@inputs(3_000)
@given(choices)
def test_secret_that_is_taken_is_long_enough(choose: Choices) -> None:
    pieces = [b"a" * 32, b"b" * 31, b"\n", b"", b"\r", b"\0" * 40, b"-----BEGIN PUBLIC KEY-----"]
    pieces += [b"ssh-rsa AAAA", b"c" * 8, b"\xff" * 33, b"-----END PUBLIC KEY-----"]
    secret = b"".join(choose.pick(pieces) for _ in range(1 + choose.number(5)))
    refusal = None
    try:
        keys = read_secret(secret)
    except ConfigurationError as error:
        refusal = str(error)
    if refusal:
        check_words(refusal, secret.decode("latin-1"))
    else:
        assert isinstance(keys, Keys)
        assert all(len(line) >= 32 for line in secret.split(b"\n"))
    count("shared secret", refusal or "taken")


SCHEMES = ["https://", "http://", "HTTPS://", "file://", "ftp://", "//", "", "https:/"]
NAMES = ["", "user:pass@", "@", "\\", "%40"]
HOSTS = [
    *("issuer.example", "localhost", "127.0.0.1", "127.1", "[::1]", "[::]", "0", "0x7f.1", ""),
    *("localhost.example", "127.0.0.1.nip.example", "[::ffff:127.0.0.1]", "2130706433", "[::1"),
    *("127.0.0.1\\.example", "127.0.0.1#", "127.0.0.1?", "localhost%00", "LOCALHOST", "10.0.0.1"),
]
ENDS = [
    "",
    "/keys",
    ":80",
    ":0",
    ":99999",
    ":x",
    "/a b",
    "/#",
    "/?q",
    "/\n",
    "/é",
    "/" + "a" * 2000,
]


@inputs(6_000)
@given(choices)
def test_keys_are_fetched_by_https_or_from_this_machine(choose: Choices) -> None:
    parts = (SCHEMES, NAMES if choose.happens(3) else [""], HOSTS, ENDS)
    url = "".join(choose.pick(some) for some in parts)
    refusal = None
    try:
        check_url(url)
    except ConfigurationError as error:
        refusal = str(error)
    if refusal:
        check_words(refusal, url)
    else:
        split = urlsplit(url)
        assert "@" not in split.netloc
        assert url.isascii()
        if split.scheme != "https":
            assert split.scheme == "http"
            host = str(split.hostname)
            assert host in ("localhost", "::1", "::ffff:127.0.0.1") or host.startswith("127.")
    count("URL of keys", refusal or "taken")
