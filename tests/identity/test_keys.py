"""Which keys are used, for which algorithms, and which are passed over."""

import math
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm
from support.issuer import (
    ISSUER,
    LEFT_OUT,
    PUBLIC_ALGORITHMS,
    SECRET,
    Signer,
    encoded,
    forge,
    secret_signer,
    signer,
)
from support.jwt_verification import KEYS, verified_user

from app.errors import ConfigurationError, InvalidUserToken
from app.identity.keys import (
    FIELD,
    PRIVATE,
    ROCA_PRIMES,
    SMALL_ORDER,
    PassedOver,
    read_jwk_set,
    read_secret,
)

RSA, EC, ED = signer("RS256", "rsa"), signer("ES256", "ec"), signer("EdDSA", "ed")


def rsa_jwk(bits: int = 2048, exponent: int = 65537, **members: Any) -> dict[str, Any]:
    """Return an RSA key that looks well, and that has no private key."""
    modulus = secrets.randbits(bits) | 1 << bits - 1 | 1
    return {"kty": "RSA", "n": encoded_integer(modulus), "e": encoded_integer(exponent), **members}


def roca_jwk() -> dict[str, Any]:
    """Return an RSA key such as those of CVE-2017-15361: modulo small primes, a power of 65537."""
    primes = math.prod(ROCA_PRIMES)
    modulus = 2**2047 + (pow(65537, 1234, primes) - 2**2047) % primes
    return {"kty": "RSA", "n": encoded_integer(modulus + (1 - modulus % 2) * primes), "e": "AQAB"}


def encoded_integer(number: int) -> str:
    return encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


@pytest.mark.parametrize("algorithm", PUBLIC_ALGORITHMS)
def test_a_key_verifies_the_algorithm_that_it_names(algorithm: str) -> None:
    by = signer(algorithm)
    assert verified_user(forge(by=by), read_jwk_set({"keys": [by.jwk]})).subject == "user-1"


@pytest.mark.parametrize("algorithm", PUBLIC_ALGORITHMS)
def test_a_key_that_names_no_algorithm_verifies_those_of_its_kind_alone(algorithm: str) -> None:
    """In the way that Entra ID and others publish their keys, without `alg`."""
    by = signer(algorithm)
    keys = read_jwk_set({"keys": [without(by.jwk, "alg")]})
    kinds = {"R": "RSA", "P": "RSA", "E": algorithm}
    for other in PUBLIC_ALGORITHMS:
        if kinds[other[0]] == "RSA" == kinds[algorithm[0]]:
            token = forge({"alg": other}, by=by, signature=lambda m, a=other: by.sign(m, a))
            assert verified_user(token, keys).subject == "user-1"
        elif other != algorithm:
            with pytest.raises(InvalidUserToken, match="`alg`"):
                verified_user(forge({"alg": other}, by=by), keys)


@pytest.mark.parametrize("by", [RSA, EC, ED], ids=lambda by: by.algorithm)
def test_a_jwt_without_kid_is_verified_where_one_key_fits_its_algorithm(by: Signer) -> None:
    assert verified_user(forge({"kid": LEFT_OUT}, by=by)).subject == "user-1"


def test_a_jwt_without_kid_is_refused_where_two_keys_fit() -> None:
    keys = read_jwk_set({"keys": [RSA.jwk, signer(kid="second").jwk]})
    with pytest.raises(InvalidUserToken, match="names no key"):
        verified_user(forge({"kid": LEFT_OUT}, by=RSA), keys)


def test_a_key_without_kid_is_found_by_its_algorithm_alone() -> None:
    keys = read_jwk_set({"keys": [without(EC.jwk, "kid")]})
    assert verified_user(forge({"kid": LEFT_OUT}, by=EC), keys).subject == "user-1"
    with pytest.raises(InvalidUserToken, match="names no key"):
        verified_user(forge(by=EC), keys)


def test_keys_of_different_kinds_may_have_the_same_kid() -> None:
    """RFC 7517, section 4.5."""
    both = [Signer(by.algorithm, "same", by.private) for by in (RSA, EC)]
    keys = read_jwk_set({"keys": [by.jwk for by in both]})
    assert [verified_user(forge(by=by), keys).subject for by in both] == ["user-1"] * 2


def test_an_issuer_may_use_the_kid_again_for_its_next_key() -> None:
    """Two of a kind are tried: the old key and the new one."""
    old, new, third = (Signer("ES256", "k", signer("ES256", f"k{n}").private) for n in range(3))
    keys = read_jwk_set({"keys": [old.jwk, new.jwk, third.jwk]})
    assert [verified_user(forge(by=by), keys).subject for by in (old, new)] == ["user-1"] * 2
    with pytest.raises(InvalidUserToken, match="signature"):
        verified_user(forge(by=third), keys)


def test_a_key_shows_nothing_of_itself() -> None:
    """So a trace of an error shows no secret."""
    (key,) = read_secret(SECRET).usable
    assert repr(key) == "Key(kid=None, algorithms=frozenset({'HS256'}))"


@pytest.mark.parametrize("document", [None, [RSA.jwk], {}, {"keys": RSA.jwk}, {"keys": None}, "x"])
def test_what_is_not_a_jwk_set_is_refused(document: Any) -> None:
    with pytest.raises(ConfigurationError, match="A JWK Set is an object"):
        read_jwk_set(document)


SHORT_EC = encoded(bytes(31).replace(b"\0", b"\1"))
ODD_KEYS: list[tuple[Any, str]] = [
    ("x", "is not an object"),
    (None, "is not an object"),
    (RSA.private_jwk, PRIVATE),
    (EC.private_jwk, PRIVATE),
    (ED.private_jwk, PRIVATE),
    ({"kty": "oct", "k": encoded(SECRET)}, PRIVATE),
    ({"kty": "AKP", "alg": "ML-DSA-44", "pub": "", "priv": ""}, PRIVATE),
    ({**RSA.jwk, "kid": 1}, "has a kid"),
    ({**RSA.jwk, "kid": ""}, "has a kid"),
    ({**RSA.jwk, "kid": None}, "has a kid"),
    ({**RSA.jwk, "kid": "a\nb"}, "has a kid"),
    ({**RSA.jwk, "kid": "k" * 256}, "has a kid"),
    ({**RSA.jwk, "use": "enc"}, "`use`"),
    ({**RSA.jwk, "use": None}, "`use`"),
    (rsa_jwk(1024, use="enc"), "`use`"),
    ({**RSA.jwk, "key_ops": ["encrypt"]}, "`key_ops`"),
    ({**RSA.jwk, "key_ops": "verify"}, "`key_ops`"),
    ({**RSA.jwk, "key_ops": None}, "`key_ops`"),
    ({"kty": "new"}, "`kty`"),
    ({"kty": []}, "`kty`"),
    ({}, "`kty`"),
    ({"kty": "oct", "alg": "HS256"}, "`kty`"),
    ({**RSA.jwk, "crv": "P-256"}, "`kty`"),
    ({**RSA.jwk, "crv": {}}, "`kty`"),
    ({**EC.jwk, "crv": "secp256k1"}, "`kty`"),
    ({**EC.jwk, "crv": "P-521", "alg": "ES512"}, "`kty`"),
    ({**ED.jwk, "crv": "Ed448"}, "`kty`"),
    ({"kty": "OKP", "crv": "X25519", "x": ED.jwk["x"]}, "`kty`"),
    ({**RSA.jwk, "alg": "RSA-OAEP"}, "`alg`"),
    ({**RSA.jwk, "alg": None}, "`alg`"),
    ({**RSA.jwk, "alg": ["RS256"]}, "`alg`"),
    ({**RSA.jwk, "alg": "HS256"}, "`alg`"),
    ({**EC.jwk, "alg": "ES384"}, "`alg`"),
    ({**EC.jwk, "alg": "EdDSA"}, "`alg`"),
    (rsa_jwk(2047), "2048"),
    (rsa_jwk(1024), "2048"),
    (rsa_jwk(8193), "8192"),
    (rsa_jwk(exponent=1), "malformed"),
    (rsa_jwk(exponent=65538), "malformed"),
    (rsa_jwk(exponent=3), "exponent"),
    (rsa_jwk(exponent=2**32 + 1), "exponent"),
    (roca_jwk(), "CVE-2017-15361"),
    ({"kty": "RSA", "e": "AQAB"}, "malformed"),
    (rsa_jwk(n=5), "malformed"),
    (rsa_jwk(n=""), "malformed"),
    (rsa_jwk(n="é"), "malformed"),
    ({**EC.jwk, "x": EC.jwk["y"]}, "malformed"),
    ({**EC.jwk, "x": SHORT_EC}, "malformed"),
    ({**EC.jwk, "x": None}, "malformed"),
    ({**ED.jwk, "x": "AA"}, "malformed"),
]


@pytest.mark.parametrize(("odd", "words"), ODD_KEYS)
def test_an_odd_key_is_passed_over_and_the_others_are_used(odd: Any, words: str) -> None:
    """RFC 7517, section 5, with the reason for the operator."""
    good = signer("ES256", "good")
    keys = read_jwk_set({"keys": [odd, good.jwk]})
    assert verified_user(forge(by=good), keys).subject == "user-1"
    (passed_over,) = keys.passed_over
    assert words in passed_over.reason
    assert len(keys.usable) == 1


def test_a_key_that_is_passed_over_is_named_by_its_kid() -> None:
    weak = rsa_jwk(1024, kid="weak")
    odd = {**weak, "kid": ["secret"]}
    named = read_jwk_set({"keys": [weak, odd, without(weak, "kid"), 7]}).passed_over
    assert [one.kid for one in named] == ["'weak'", *["without a proper kid"] * 3]
    assert str(named[0]) == "the key 'weak' has less than 2048 or more than 8192 bits"


def test_what_is_private_shows_in_no_reason() -> None:
    passed_over = read_jwk_set({"keys": [RSA.private_jwk]}).passed_over
    assert passed_over == (PassedOver("without a proper kid", PRIVATE),)


@pytest.mark.parametrize(
    "jwk",
    [
        {**RSA.jwk, "key_ops": ["verify"]},
        {name: RSA.jwk[name] for name in ("kty", "n", "e")},
        rsa_jwk(8192),
        {**EC.jwk, "x5c": ["MIIB"], "x5t": "abc", "x-own": {"a": 1}},
    ],
)
def test_a_key_to_verify_with_is_used(jwk: dict[str, Any]) -> None:
    assert len(read_jwk_set({"keys": [jwk]}).usable) == 1


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", sorted({*SMALL_ORDER, FIELD, FIELD + 1}), ids=lambda y: hex(y)[:8])
def test_a_point_of_small_order_is_passed_over(y: int, sign: int) -> None:
    """Anyone can sign for such a key. The table is all of them, in all their encodings."""
    point = (y | sign << 255).to_bytes(32, "little")
    keys = read_jwk_set({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": encoded(point)}]})
    assert "small order" in keys.passed_over[0].reason


def test_anyone_could_sign_for_a_point_of_small_order() -> None:
    """Why they are passed over: no private key was needed for this signature."""
    neutral = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    forged = (1).to_bytes(32, "little") + bytes(32)
    assert OKPAlgorithm().verify(b"anything", neutral, forged)


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
            "not a public key",
        ),
        (str(RSA.jwk).replace("'", '"').encode(), "not a public key"),
    ],
)
def test_a_shared_secret_is_long_and_not_a_public_key(secret: bytes, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_secret(secret)


def test_a_shared_secret_verifies_hs256_alone() -> None:
    by = secret_signer()
    assert verified_user(forge({}, {"iss": ISSUER}, by=by), read_secret(SECRET)).subject == "user-1"
    with pytest.raises(InvalidUserToken, match="names no key"):
        verified_user(forge({}, {"iss": ISSUER}, by=by), KEYS)
