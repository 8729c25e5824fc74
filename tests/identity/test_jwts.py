"""What is accepted of JWTs, and what is read from them. The attacks: test_jwts_attacks."""

from typing import Any

import pytest
from support.issuer import LEFT_OUT, NOW, forge, signer
from support.jwt_verification import verified_user

from app.errors import InvalidUserToken, UserTokenExpired
from app.identity.jwts import REFUSED_PARAMETERS

RSA = signer("RS256", "rsa")


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+JWT", LEFT_OUT])
def test_a_type_of_jwt_that_users_have_is_accepted(kind: object) -> None:
    assert verified_user(forge({"typ": kind}, by=RSA)).subject == "user-1"


def test_header_parameters_without_a_meaning_here_are_ignored() -> None:
    assert verified_user(forge({"x5t": "abc", "extra": {"a": [1]}}, by=RSA)).subject == "user-1"


@pytest.mark.parametrize("subject", ["s" * 255, "é\u00a0ü 用户 🙂", "0", "' OR 1=1 --"])
def test_a_subject_is_any_plain_text_up_to_255_characters(subject: str) -> None:
    assert verified_user(forge({}, {"sub": subject}, by=RSA)).subject == subject


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
def test_times_are_checked_with_a_leeway_of_30_seconds(
    times: dict[str, Any], error: type[Exception] | None
) -> None:
    token = forge({}, times, by=RSA)
    if error is None:
        assert verified_user(token).subject == "user-1"
    else:
        with pytest.raises(error):
            verified_user(token)


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
        ("moc.liam@\u202eada@mail.example", None),
        ("ada\u202e@mail.example", None),
        ("Ada <ada@mail.example>", None),
        ("ada@mail.example,eve@mail.example", None),
        ("@mail.example", None),
        ("", None),
        (None, None),
        (["ada@mail.example"], None),
        (LEFT_OUT, None),
    ],
)
def test_an_email_is_used_only_where_it_looks_like_an_address(
    email: object, expected: str | None
) -> None:
    assert verified_user(forge({}, {"email": email}, by=RSA)).email == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada", "Ada"),
        ("Åsa-Märta 李", "Åsa-Märta 李"),
        ("a" * 255, "a" * 255),
        ("a" * 256, None),
        ("A\nda", None),
        ("A\u202eda", None),
        ("A\u2066da", None),
        ("می\u200cم", "می\u200cم"),
        ("", None),
        (["Ada"], None),
        (LEFT_OUT, None),
    ],
)
@pytest.mark.parametrize("claim", ["given_name", "family_name"])
def test_a_name_is_used_only_where_it_is_printable_text(
    claim: str, name: object, expected: str | None
) -> None:
    claims = verified_user(forge({}, {claim: name}, by=RSA))
    assert getattr(claims, claim) == expected
    other = {"given_name": "family_name", "family_name": "given_name"}[claim]
    assert getattr(claims, other) is None


def test_the_claim_marks_a_test_user() -> None:
    assert verified_user(forge({}, {"is_test_user": True}, by=RSA)).is_test
    assert not verified_user(forge({}, {"is_test_user": False}, by=RSA)).is_test
    assert not verified_user(forge(by=RSA)).is_test


def test_a_token_that_is_as_large_as_allowed_is_read() -> None:
    """8,192 characters pass; one more does not."""
    spare = (8192 - len(forge({"x": ""}, {"x": ""}, by=RSA))) * 3 // 4
    tokens = [
        forge({"x": "x" * few}, {"x": "x" * (spare - few + more)}, by=RSA)
        for few in range(4)
        for more in range(-2, 4)
    ]
    by_length = {len(token): token for token in tokens}
    assert verified_user(by_length[8192]).subject == "user-1"
    with pytest.raises(InvalidUserToken, match="8 KiB"):
        verified_user(by_length[8193])


@pytest.mark.parametrize("name", sorted(REFUSED_PARAMETERS))
def test_the_refusal_names_the_header_parameter(name: str) -> None:
    """By its name, and never by its value."""
    with pytest.raises(InvalidUserToken) as refused:
        verified_user(forge({name: "https://secret.example/"}, by=RSA))
    assert f"`{name}`" in refused.value.detail
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": LEFT_OUT, "client_id": "an access token of Cognito"}, "no `aud`"),
        ({"sub": 4711}, "`sub`"),
        ({"nbf": None}, "`nbf`"),
        ({"iat": None}, "`iat`"),
        ({"exp": LEFT_OUT}, "no `exp`"),
        ({"iss": LEFT_OUT}, "`iss`"),
        ({"is_test_user": "no"}, "`is_test_user`"),
    ],
)
def test_the_refusal_names_the_claim(claims: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidUserToken) as refused:
        verified_user(forge({}, claims, by=RSA))
    assert words in refused.value.detail
    assert "4711" not in refused.value.detail
