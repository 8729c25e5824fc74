"""JWTs that are nearly genuine: a genuine one, and a few things that an attacker would change."""

import base64
import json
import secrets
import time
from typing import Any, NamedTuple

from fuzz.choices import Choices
from support.issuer import AUDIENCE, ISSUER, Signer, secret_signer, signer

NOW = int(time.time())
HMAC = secret_signer()
SIGNERS = [
    *(signer("EdDSA", "ed"), signer("ES256", "ec"), signer("RS256", "rsa")),
    *(signer("ES384", "ec384"), signer("PS256", "pss"), signer("RS512", "rsa512")),
]
STRANGER = Signer("EdDSA", "ed", signer("EdDSA", "stranger").private)
# Found in no answer, whatever becomes of the JWT that holds it.
MARK = "MARKED" + secrets.token_hex(4)

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.5, 1e300, 2**53, 2**64, -0.0, 1e-320, "", " ", "0", MARK),
    *([], {}, [[]], [None], ["x"], {"a": 1}, {"": ""}, [MARK] * 3, {"keys": []}, [{}], "[]"),
    *("a" * 255, "a" * 256, "a" * 3000, "\0", "a\nb", "\ud800", "\x7f", "é", "\u202e", "🙂", "ﬀ"),
    *(ISSUER, ISSUER.upper(), ISSUER[:-1], AUDIENCE, AUDIENCE + "/", [AUDIENCE], [AUDIENCE, 1]),
    *(
        "RS256",
        "ES256",
        "EdDSA",
        "HS256",
        "HS512",
        "PS256",
        "ES384",
        "RS512",
        "none",
        "None",
        "rsa",
        "ec",
        "ed",
    ),
    *("JWT", "jwt", "at+jwt", "JOSE", "../../etc/passwd", "' or 1=1 --", "https://thief.example/"),
    *("ada@mail.example", "@", "a@b.c", "a" * 250 + "@b.cd", "-.-@-.--", "a@" + "b." * 120 + "c"),
    *(NOW, NOW - 29, NOW - 60, NOW + 40, NOW + 0.5, 253_402_300_799, 253_402_300_800, str(NOW)),
]
HEADER = ["alg", "kid", "typ", "cty", "crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "zip", "x"]
CLAIMS = ["sub", "iss", "aud", "exp", "nbf", "iat", "email", "is_test_user", "x", ""]
# What JSON may not hold, or what its parsers read in different ways.
ODD_JSON = [
    *('{"a":1,"a":2}', "NaN", "Infinity", "-Infinity", "1e999", "9" * 20, "9" * 21, "9" * 5000),
    *("[" * 900, "[" * 2000 + "]" * 2000, '{"a":' * 900, "'a'", "01", "+1", ".5", "1.", "0x1", ""),
    *('"\x01"', '"\\x"', '"\\ud800"', '"\\u0000"', "nul", "//", "/**/1", "1,", "[1,]", '{"a":1,}'),
]
LETTERS = "ABab01-_+/=.~ \t\n\0\xe9\ud800"
CODECS = ["utf-8"] * 60 + ["utf-16", "utf-8-sig", "latin-1", "utf-32-le"]


class Forged(NamedTuple):
    """A JWT, and whether nothing about it was changed."""

    text: str
    by: Signer
    is_genuine: bool


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def forged(choose: Choices) -> Forged:
    """Return a JWT that is genuine, or changed in its members, its JSON, its letters or its key."""
    by = choose.pick([*SIGNERS[:2] * 3, HMAC, *SIGNERS])
    header = {"alg": by.algorithm, "typ": "JWT"} | ({"kid": by.kid} if by.kid else {})
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": NOW + 86_400}
    parts = [_part(choose, usual, names) for usual, names in ((header, HEADER), (claims, CLAIMS))]
    message = ".".join(map(encoded, parts))
    signing = choose.pick([STRANGER, HMAC, *SIGNERS]) if choose.happens(12) else by
    text = f"{message}.{encoded(signing.sign(message.encode()))}"
    edits = choose.number(3) if choose.happens(3) else 0
    for _ in range(edits):
        text = _edited(choose, text)
    usual = [json.dumps(part).encode() for part in (header, claims)]
    return Forged(text, by, parts == usual and signing is by and not edits)


def _part(choose: Choices, usual: dict[str, Any], names: list[str]) -> bytes:
    members = dict(usual)
    if choose.happens(3):
        members[choose.pick(names)] = choose.pick(VALUES)
    if choose.happens(10):
        members.pop(choose.pick(sorted(usual)))
    text = json.dumps(members)
    if choose.happens(12):
        name, value = choose.pick([*names, *usual]), choose.pick(ODD_JSON)
        at = choose.pick([place for place, letter in enumerate(text) if letter in "{,"]) + 1
        text = f"{text[:at]}{json.dumps(name)}:{value},{text[at:]}"
    return text.encode(choose.pick(CODECS), errors="replace")


def _edited(choose: Choices, text: str) -> str:
    at = choose.number(len(text) + 1)
    kind = choose.number(10)
    if kind < 6:
        gone = choose.number(3)
        return text[:at] + choose.text(LETTERS, 2) + text[at + gone :]
    return [
        text + "=",
        ".".join(reversed(text.split("."))),
        text[: text.rfind(".") + 1],
        text[:at] + "A" * 9000 + text[at:],
    ][kind - 6]
