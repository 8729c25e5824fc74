"""What is accepted of JWTs, and which keys: the attacks on them are in test_jwts_attacks."""

import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from identity.test_issuers_standin import (
    AUDIENCE,
    ISSUER,
    LEFT_OUT,
    NOW,
    SECRET,
    encoded,
    forge,
    secret_signer,
    signer,
)
from jwt.algorithms import OKPAlgorithm

from app.errors import ConfigurationError, InvalidUserToken, UserTokenExpired
from app.identity.jwts import (
    FIELD,
    SMALL_ORDER,
    Claims,
    Keys,
    published_keys,
    read,
    secret_key,
    verified,
)

RSA, EC, ED = signer("RS256", "rsa"), signer("ES256", "ec"), signer("EdDSA", "ed")
KEYS = published_keys({"keys": [RSA.jwk, EC.jwk, ED.jwk]})


def believed(token: str, keys: Keys = KEYS, now: float = NOW) -> Claims:
    unverified = read(token)
    key = keys.find(unverified.kid, unverified.algorithm)
    return verified(unverified, key, AUDIENCE, now)


def rsa_jwk(bits: int = 2048, exponent: int = 65537, **members: Any) -> dict[str, Any]:
    """Give an RSA key that looks well; nobody could sign with it."""
    modulus = secrets.randbits(bits) | 1 << bits - 1 | 1
    return {"kty": "RSA", "n": encoded_integer(modulus), "e": encoded_integer(exponent), **members}


def encoded_integer(number: int) -> str:
    return encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))


@pytest.mark.parametrize("by", [RSA, EC, ED], ids=lambda by: by.algorithm)
def test_a_jwt_without_kid_is_verified_where_one_key_fits_its_algorithm(by: Any) -> None:
    assert believed(forge({"kid": LEFT_OUT}, by=by)).subject == "user-1"


def test_a_jwt_without_kid_is_refused_where_two_keys_fit() -> None:
    keys = published_keys({"keys": [RSA.jwk, signer(kid="second").jwk]})
    with pytest.raises(InvalidUserToken, match="names no key"):
        believed(forge({"kid": LEFT_OUT}, by=RSA), keys)


def test_a_key_without_kid_is_found_by_its_algorithm_alone() -> None:
    jwk = {name: value for name, value in EC.jwk.items() if name != "kid"}
    keys = published_keys({"keys": [jwk]})
    assert believed(forge({"kid": LEFT_OUT}, by=EC), keys).subject == "user-1"
    with pytest.raises(InvalidUserToken, match="names no key"):
        believed(forge(by=EC), keys)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+JWT", LEFT_OUT])
def test_a_type_of_jwt_that_users_have_is_accepted(kind: object) -> None:
    assert believed(forge({"typ": kind}, by=RSA)).subject == "user-1"


def test_header_parameters_that_mean_nothing_here_are_passed_over() -> None:
    assert believed(forge({"x5t": "abc", "extra": {"a": [1]}}, by=RSA)).subject == "user-1"


@pytest.mark.parametrize("subject", ["s" * 255, "é\u00a0ü 用户 🙂", "0", "' OR 1=1 --"])
def test_a_subject_is_any_plain_text_up_to_255_characters(subject: str) -> None:
    assert believed(forge({}, {"sub": subject}, by=RSA)).subject == subject


@pytest.mark.parametrize(
    ("times", "error"),
    [
        ({"exp": NOW - 29}, None),
        ({"exp": NOW - 29.5}, None),
        ({"exp": NOW - 30}, UserTokenExpired),
        ({"exp": 253_402_300_799}, None),
        ({"nbf": NOW + 30}, None),
        ({"nbf": NOW + 30.5}, InvalidUserToken),
        ({"nbf": 0}, None),
        ({"iat": NOW + 1000}, None),
        ({"iat": LEFT_OUT}, None),
        ({"iat": NOW + 0.25}, None),
    ],
)
def test_times_are_taken_with_a_leeway_of_30_seconds(
    times: dict[str, Any], error: type[Exception] | None
) -> None:
    token = forge({}, times, by=RSA)
    if error is None:
        assert believed(token).subject == "user-1"
    else:
        with pytest.raises(error):
            believed(token)


@pytest.mark.parametrize(
    ("email", "expected"),
    [
        ("ada@mail.example", "ada@mail.example"),
        ("ada+card@mail.co-op.example", "ada+card@mail.co-op.example"),
        ("ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
        ("jürgen@bücher.example", "jürgen@bücher.example"),
        ("a" * 241 + "@mail.example", "a" * 241 + "@mail.example"),
        ("a" * 242 + "@mail.example", None),
        ("ada", None),
        ("ada@localhost", None),
        ("ada@mail..example", None),
        ("ada@.example", None),
        ("ada@mail.example\n", None),
        ("a da@mail.example", None),
        ("ada\0@mail.example", None),
        ("\ud800@mail.example", None),
        ("Ada <ada@mail.example>", None),
        ("ada@mail.example,eve@mail.example", None),
        ("@mail.example", None),
        ("", None),
        (None, None),
        (["ada@mail.example"], None),
        (LEFT_OUT, None),
    ],
)
def test_an_email_is_taken_only_where_it_looks_like_an_address(
    email: object, expected: str | None
) -> None:
    assert believed(forge({}, {"email": email}, by=RSA)).email == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada", "Ada"),
        ("Åsa-Märta 李", "Åsa-Märta 李"),
        ("a" * 255, "a" * 255),
        ("a" * 256, None),
        ("A\nda", None),
        ("", None),
        (["Ada"], None),
        (LEFT_OUT, None),
    ],
)
@pytest.mark.parametrize("claim", ["given_name", "family_name"])
def test_a_name_is_taken_only_where_it_is_printable_text(
    claim: str, name: object, expected: str | None
) -> None:
    claims = believed(forge({}, {claim: name}, by=RSA))
    assert getattr(claims, claim) == expected
    other = {"given_name": "family_name", "family_name": "given_name"}[claim]
    assert getattr(claims, other) is None


def test_a_test_user_is_told_by_the_claim() -> None:
    assert believed(forge({}, {"is_test_user": True}, by=RSA)).is_test
    assert not believed(forge({}, {"is_test_user": False}, by=RSA)).is_test
    assert not believed(forge(by=RSA)).is_test


def test_a_token_that_is_as_large_as_allowed_is_read() -> None:
    """8,192 characters pass; one more does not."""
    spare = (8192 - len(forge({"x": ""}, {"x": ""}, by=RSA))) * 3 // 4
    tokens = [
        forge({"x": "x" * few}, {"x": "x" * (spare - few + more)}, by=RSA)
        for few in range(4)
        for more in range(-2, 4)
    ]
    by_length = {len(token): token for token in tokens}
    assert believed(by_length[8192]).subject == "user-1"
    with pytest.raises(InvalidUserToken, match="8 KiB"):
        believed(by_length[8193])


def test_reading_a_jwt_tells_nothing_of_it_in_its_own_words() -> None:
    """Keys show no material, so that a trace of an error shows none."""
    key = secret_key(SECRET).find(None, "HS256")
    assert repr(key) == "Key(kid=None, algorithm='HS256')"


@pytest.mark.parametrize(
    ("jwks", "words"),
    [
        (None, "A JWK Set is an object"),
        ([RSA.jwk], "A JWK Set is an object"),
        ({}, "A JWK Set is an object"),
        ({"keys": RSA.jwk}, "A JWK Set is an object"),
        ({"keys": [RSA.jwk, "x"]}, "A JWK Set is an object"),
        ({"keys": [RSA.jwk, {**EC.jwk, "kid": "rsa"}]}, "same kid"),
        ({"keys": [RSA.jwk, {"kty": "new", "kid": "rsa"}]}, "same kid"),
        ({"keys": [{**RSA.jwk, "kid": 1}]}, "A kid is no text"),
        ({"keys": [{**RSA.jwk, "kid": ""}]}, "A kid is no text"),
        ({"keys": [{**RSA.jwk, "kid": "k" * 256}]}, "A kid is no text"),
        ({"keys": [rsa_jwk(2047)]}, "less than 2048"),
        ({"keys": [rsa_jwk(1024)]}, "less than 2048"),
        ({"keys": [rsa_jwk(8193)]}, "more than 8192"),
        ({"keys": [RSA.jwk, rsa_jwk(1024)]}, "less than 2048"),
        ({"keys": [rsa_jwk(exponent=1)]}, "malformed"),
        ({"keys": [rsa_jwk(exponent=3)]}, "exponent"),
        ({"keys": [rsa_jwk(exponent=2**32 + 1)]}, "exponent"),
        ({"keys": [rsa_jwk(exponent=65538)]}, "malformed"),
        ({"keys": [{"kty": "RSA", "e": "AQAB"}]}, "malformed"),
        ({"keys": [rsa_jwk(n=5)]}, "malformed"),
        ({"keys": [rsa_jwk(n="")]}, "malformed"),
        ({"keys": [rsa_jwk(n="é")]}, "malformed"),
        ({"keys": [{**EC.jwk, "x": EC.jwk["y"]}]}, "malformed"),
        ({"keys": [{**EC.jwk, "x": "AA"}]}, "malformed"),
        ({"keys": [{**EC.jwk, "x": None}]}, "malformed"),
        ({"keys": [{**ED.jwk, "x": "AA"}]}, "malformed"),
        ({"keys": [RSA.private_jwk]}, "private or secret"),
        ({"keys": [EC.private_jwk]}, "private or secret"),
        ({"keys": [ED.private_jwk]}, "private or secret"),
        ({"keys": [RSA.jwk, {"kty": "oct", "k": encoded(SECRET)}]}, "private or secret"),
        ({"keys": [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "", "priv": ""}]}, "private"),
    ],
)
def test_a_set_with_a_bad_key_is_refused_as_a_whole(jwks: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        published_keys(jwks)


@pytest.mark.parametrize(
    "jwk",
    [
        {**RSA.jwk, "use": "enc"},
        {**RSA.jwk, "key_ops": ["encrypt"]},
        {**RSA.jwk, "key_ops": "verify"},
        {**RSA.jwk, "alg": "RS512"},
        {**RSA.jwk, "alg": "PS256"},
        {**RSA.jwk, "alg": None},
        {**RSA.jwk, "alg": "HS256"},
        {**RSA.jwk, "crv": "P-256"},
        {**RSA.jwk, "crv": {}},
        {**EC.jwk, "alg": "EdDSA"},
        {"kty": "oct", "alg": "HS256"},
        {"kty": "new"},
        {"kty": []},
        {},
        signer("ES384").jwk,
        rsa_jwk(1024, use="enc"),
    ],
)
def test_a_key_for_other_uses_is_passed_over(jwk: dict[str, Any]) -> None:
    assert len(published_keys({"keys": [jwk]})) == 0
    assert len(published_keys({"keys": [{**jwk, "kid": "x"}, EC.jwk]})) == 1


@pytest.mark.parametrize(
    "jwk",
    [
        {**RSA.jwk, "key_ops": ["verify"]},
        {name: RSA.jwk[name] for name in ("kty", "n", "e")},
        rsa_jwk(8192),
        {**EC.jwk, "x5c": ["MIIB"], "x5t": "abc"},
    ],
)
def test_a_key_to_verify_with_is_taken(jwk: dict[str, Any]) -> None:
    assert len(published_keys({"keys": [jwk]})) == 1


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", sorted({*SMALL_ORDER, FIELD, FIELD + 1}), ids=lambda y: hex(y)[:8])
def test_a_point_of_small_order_is_refused(y: int, sign: int) -> None:
    """Under such a key anybody can sign: the table is all of them, in all their encodings."""
    point = (y | sign << 255).to_bytes(32, "little")
    with pytest.raises(ConfigurationError, match="small order"):
        published_keys({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": encoded(point)}]})


def test_a_point_of_small_order_would_let_anybody_sign() -> None:
    """Why they are refused: no private key was needed for this signature."""
    neutral = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    anybody = (1).to_bytes(32, "little") + bytes(32)
    assert OKPAlgorithm().verify(b"anything", neutral, anybody)


@pytest.mark.parametrize("y", sorted(SMALL_ORDER), ids=lambda y: hex(y)[:8])
def test_the_points_of_small_order_are_those_that_8_takes_to_the_neutral_one(y: int) -> None:
    """Computed on the curve -x² + y² = 1 + dx²y² (RFC 8032, section 5.1): each order divides 8."""
    d = -121665 * pow(121666, -1, FIELD)
    x = square_root((y * y - 1) * pow(d * y * y + 1, -1, FIELD))
    for _ in range(3):
        k = d * x * x * y * y
        x, y = 2 * x * y * pow(1 + k, -1, FIELD), (y * y + x * x) * pow(1 - k, -1, FIELD)
    assert (x % FIELD, y % FIELD) == (0, 1)


def square_root(square: int) -> int:
    root = pow(square, (FIELD + 3) // 8, FIELD)
    if (root * root - square) % FIELD:
        root = root * pow(2, (FIELD - 1) // 4, FIELD)
    assert (root * root - square) % FIELD == 0
    return root


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (b"", "at least 32"),
        (SECRET[:31], "at least 32"),
        (
            RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "of others",
        ),
        (str(RSA.jwk).replace("'", '"').encode(), "of others"),
    ],
)
def test_a_shared_secret_is_long_and_is_not_somebodys_public_key(secret: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        secret_key(secret)


def test_a_jwt_is_verified_with_a_shared_secret() -> None:
    token = forge({}, {"iss": ISSUER}, by=secret_signer())
    assert believed(token, secret_key(SECRET)).subject == "user-1"
