"""The examples of RFC 7515, RFC 7520 and RFC 8037: accepted, or refused for a reason of our own.

What they sign is not meant for Coord, so their signatures are checked without their claims.
"""

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidUserToken
from app.identity.jwts import ParsedJwt, parse
from app.identity.keys import Keys, read_jwk_set, read_secret

DATA = Path(__file__).parents[1] / "data" / "jose_examples.json"
EXAMPLES: dict[str, dict[str, Any]] = {
    example["section"]: example for example in json.loads(DATA.read_text())
}
ACCEPTED = [
    *("RFC 7515, A.1", "RFC 7515, A.2", "RFC 7515, A.3"),
    *("RFC 7520, 4.1.3", "RFC 7520, 4.2.3", "RFC 8037, A.4"),
]
# By the key or the algorithm, although the signature is right.
REFUSED = {
    "RFC 7515, A.4": "names no key",  # ES512, whose key is passed over
    "RFC 7520, 4.3.3": "names no key",  # likewise
    "RFC 7520, 4.4.3": "names no key",  # HS256 with a `kid`: a shared secret has no name
}
# By the form, before any key is looked for.
MALFORMED = {
    "RFC 7515, A.4": "`alg` is not|JSON of the JWT's claims",
    "RFC 7515, A.5": "`alg` is not",  # none
    "RFC 7515, A.6": "three parts",  # general JSON serialization
    "RFC 7515, A.7": "three parts",  # flattened JSON serialization
    "RFC 7520, 4.3.3": "JSON of the JWT's claims",
    "RFC 7520, 4.5.3": "JSON of the JWT's claims",  # detached content
    "RFC 7520, 4.6.3": "three parts",
    "RFC 7520, 4.7.3": "three parts",
    "RFC 7520, 4.8.5": "three parts",
}


def keys_of(section: str) -> Keys:
    jwk = EXAMPLES[section]["key"]
    if jwk["kty"] == "oct":
        return read_secret(decoded(jwk["k"]))
    return read_jwk_set({"keys": [jwk]})


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")


def parsed(jws: str) -> ParsedJwt:
    """Parse a JWS without a look at what it signs."""
    header, payload, signature = jws.split(".")
    members = json.loads(decoded(header))
    signed = f"{header}.{payload}".encode()
    kid, algorithm = members.get("kid"), members["alg"]
    return ParsedJwt(kid, algorithm, "", set(), {}, signed, decoded(signature))


@pytest.mark.parametrize("section", ACCEPTED)
def test_the_signature_of_an_example_is_accepted(section: str) -> None:
    """And no longer as soon as one letter of what it signs is another."""
    jws, keys = parsed(EXAMPLES[section]["jws"]), keys_of(section)
    keys.check_signature(jws)
    for change in (b"x" + jws.signed[1:], jws.signed[:-1] + b"_", jws.signed + b"A"):
        with pytest.raises(InvalidUserToken, match="signature"):
            keys.check_signature(jws._replace(signed=change))


@pytest.mark.parametrize(("section", "words"), REFUSED.items())
def test_an_example_is_refused_for_its_key(section: str, words: str) -> None:
    with pytest.raises(InvalidUserToken, match=words):
        keys_of(section).check_signature(parsed(EXAMPLES[section]["jws"]))


@pytest.mark.parametrize("section", ["RFC 7515, A.4", "RFC 7520, 4.3.3"])
def test_a_key_for_es512_is_passed_over(section: str) -> None:
    assert "`crv` that no accepted algorithm has" in keys_of(section).passed_over[0].reason


@pytest.mark.parametrize(("section", "words"), MALFORMED.items())
def test_an_example_is_refused_for_its_form(section: str, words: str) -> None:
    jws = EXAMPLES[section]["jws"]
    with pytest.raises(InvalidUserToken, match=words):
        parse(jws if isinstance(jws, str) else json.dumps(jws))


def test_a_secret_verifies_the_example_of_hs256_once_it_is_named_no_more() -> None:
    """So it is only for its `kid` that it is refused."""
    section = "RFC 7520, 4.4.3"
    keys_of(section).check_signature(parsed(EXAMPLES[section]["jws"])._replace(kid=None))


def test_each_example_is_accepted_or_refused() -> None:
    assert {*ACCEPTED, *REFUSED, *MALFORMED} == set(EXAMPLES)


@pytest.mark.parametrize("section", ["RFC 7515, A.1", "RFC 7515, A.2", "RFC 7515, A.3"])
def test_claims_that_are_not_for_an_audience_are_refused(section: str) -> None:
    with pytest.raises(InvalidUserToken, match="no `aud`"):
        parse(EXAMPLES[section]["jws"])
