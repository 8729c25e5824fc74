"""JWK Sets and users' JWTs in the shapes that public identity providers give them.

The shapes follow what the providers publish and document; keys, names and numbers are made up.
"""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support.issuer import NOW, Signer, encoded, signer

Members = dict[str, Any]
DAY = timedelta(days=1)


class Provider(NamedTuple):
    """How one provider publishes keys, and what it puts into a user's JWT.

    Attributes:
        name: for the test.
        issuer: the JWT's `iss`.
        audience: what an operator registers.
        keys: all that the JWK Set has, in its order; the last one signs.
        header: of the JWT, besides `alg`.
        claims: besides `iss`, `iat` and `exp`.
        by: signs.
    """

    name: str
    issuer: str
    audience: str
    keys: list[Members]
    header: Members
    claims: Members
    by: Signer


def key(by: Signer, *left_out: str, **members: Any) -> Members:
    return {name: value for name, value in by.jwk.items() if name not in left_out} | members


def certificate(by: Signer) -> tuple[str, str, str]:
    """Return a certificate as `x5c` has it, and its `x5t` and `x5t#S256`."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, by.kid)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, by.private.public_key(), 1, now - DAY, now + DAY)
    signed = builder.sign(by.private, hashes.SHA256())
    text = b64encode(signed.public_bytes(Encoding.DER)).decode()
    sha1, sha256 = (signed.fingerprint(digest()) for digest in (hashes.SHA1, hashes.SHA256))
    return text, encoded(sha1), encoded(sha256)


def certified(by: Signer, *left_out: str, **members: Any) -> Members:
    text, sha1, _ = certificate(by)
    return key(by, *left_out, x5c=[text], x5t=sha1, **members)


def auth0() -> Provider:
    next_key, by = signer(kid="0uaVh0RAnextZ3cX"), signer(kid="NjVBRjY5MDlCMUIwNzU4RTA2QzZFMDQ4")
    claims = {
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": ["https://api.coord.co", "https://acme.eu.auth0.com/userinfo"],
        "azp": "my_client_id",
        "scope": "openid profile email",
        "permissions": [],
        "https://acme.example/roles": ["rider"],
    }
    header = {"typ": "JWT", "kid": by.kid}
    keys = [certified(next_key), certified(by)]
    return Provider(
        "Auth0", "https://acme.eu.auth0.com/", "https://api.coord.co", keys, header, claims, by
    )


def auth0_of_rfc_9068() -> Provider:
    usual = auth0()
    claims = {**usual.claims, "client_id": "my_client_id", "jti": "bJdTqbkDMyKvUUdM"}
    return usual._replace(
        name="Auth0, RFC 9068", header={**usual.header, "typ": "at+jwt"}, claims=claims
    )


def google() -> Provider:
    other, by = signer(kid="c8ab71530972bba20b49f78a09c9852c43ff9118"), signer(kid="google")
    audience = "407408718192-acme.apps.googleusercontent.com"
    claims = {
        "azp": audience,
        "aud": audience,
        "sub": "110169484474386276334",
        "hd": "acme.example",
        "email": "ada@acme.example",
        "email_verified": True,
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "nonce": "0394852-3190485-2490358",
        "name": "Ada Rider",
        "picture": "https://lh3.googleusercontent.com/a-/photo=s96-c",
        "given_name": "Ada",
        "family_name": "Rider",
        "locale": "en",
    }
    header = {"kid": by.kid, "typ": "JWT"}
    keys = [key(other), key(by)]
    return Provider("Google", "https://accounts.google.com", audience, keys, header, claims, by)


def firebase() -> Provider:
    other, by = signer(kid="3f9a050dc4ae828c2871c3256323cabd34"), signer(kid="firebase")
    user = "nkBpHVlw9MaSpK9CkBNzNsWoBnD3"
    claims = {
        "name": "Ada Rider",
        "aud": "acme-mobility",
        "auth_time": NOW - 86_400,
        "user_id": user,
        "sub": user,
        "email": "ada@acme.example",
        "email_verified": False,
        "firebase": {
            "identities": {"google.com": ["110169484474386276334"], "email": ["ada@acme.example"]},
            "sign_in_provider": "google.com",
        },
    }
    header = {"kid": by.kid, "typ": "JWT"}
    issuer = "https://securetoken.google.com/acme-mobility"
    return Provider("Firebase", issuer, "acme-mobility", [key(other), key(by)], header, claims, by)


def cognito() -> Provider:
    other, by = signer(kid="P4WxLz+9s5rT2v="), signer(kid="1234example/kid+of44bytes=")
    user, audience = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "xxxxxxxxxxxxexample"
    claims = {
        "sub": user,
        "aud": audience,
        "cognito:groups": ["riders"],
        "cognito:username": user,
        "custom:fleet": "bikes",
        "email_verified": True,
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
        "token_use": "id",
        "auth_time": NOW - 60,
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "email": "ada@acme.example",
    }
    issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Example"
    keys = [key(other), key(by)]
    return Provider("Cognito", issuer, audience, keys, {"kid": by.kid}, claims, by)


def keycloak(by: Signer | None = None) -> Provider:
    encryption = signer(kid="keycloak-enc")
    by = by or signer(kid="FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE")
    text, sha1, sha256 = certificate(encryption)
    keys = [
        key(encryption, use="enc", alg="RSA-OAEP", x5c=[text], x5t=sha1) | {"x5t#S256": sha256},
        certified(by) if by.algorithm.startswith("RS") else key(by),
    ]
    claims = {
        "jti": "onrtro:0ea1a5ee-9ac9-4a8f-a6f4-52b1b9f5d0a3",
        "aud": ["coord-api", "account"],
        "sub": "f8e3c6a2-3a3c-4f66-9c0a-0a4f9f3a8a11",
        "typ": "Bearer",
        "azp": "acme-app",
        "sid": "8b8f1b4e-4b7a-4a8a-8f3e-3d6e7c1b2a90",
        "acr": "1",
        "allowed-origins": ["https://acme.example"],
        "realm_access": {"roles": ["offline_access", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid email profile",
        "email_verified": True,
        "name": "Ada Rider",
        "preferred_username": "ada",
        "given_name": "Ada",
        "family_name": "Rider",
        "email": "ada@acme.example",
    }
    header = {"typ": "JWT", "kid": by.kid}
    issuer = "https://login.acme.example/realms/acme"
    return Provider(f"Keycloak, {by.algorithm}", issuer, "coord-api", keys, header, claims, by)


def entra() -> Provider:
    """No key names its algorithm, and each names the issuer, with a placeholder or without."""
    by = signer(kid="nOo3ZDrODXEK1jKWhXslHR_KXEg")
    tenant = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
    cloud = {"cloud_instance_name": "microsoftonline.com"}
    anyones = {"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0", **cloud}
    issuer = f"https://login.microsoftonline.com/{tenant}/v2.0"
    keys = [
        certified(signer(kid="1LTMzakihiRla_8z2BEJVXeWMqo"), "alg", **anyones),
        certified(by, "alg", issuer=issuer, **cloud),
    ]
    audience = "00001111-aaaa-2222-bbbb-3333cccc4444"
    claims = {
        "aud": audience,
        "nbf": NOW,
        "aio": "ASQA2/8TAAAAtBpG/example",
        "azp": "11112222-bbbb-3333-cccc-4444dddd5555",
        "azpacr": "0",
        "name": "Ada Rider",
        "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
        "preferred_username": "ada@acme.example",
        "rh": "0.AXoAv4j5cvGGr0GRqy180BHbR.",
        "scp": "Users.ReadWrite",
        "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "tid": tenant,
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
        "xms_tcdt": 1_600_000_000,
    }
    header = {"typ": "JWT", "x5t": by.kid, "kid": by.kid}
    return Provider("Entra ID", issuer, audience, keys, header, claims, by)


def okta() -> Provider:
    by = signer(kid="z3d1aOaKQOVxx25GjKIqTvKhKVVVoUQbIDF2YXM4h6A")
    claims = {
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "aud": "api://default",
        "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ujmkLgagxeRrAg20g3",
        "scp": ["openid", "email"],
        "auth_time": NOW - 60,
        "sub": "ada@acme.example",
        "groups": ["riders"],
    }
    issuer = "https://dev-123456.okta.com/oauth2/default"
    return Provider("Okta", issuer, "api://default", [key(by)], {"kid": by.kid}, claims, by)


def supabase() -> Provider:
    by = signer("ES256", "b81269f1-21d8-4f2e-b719-c2240a840d90")
    claims = {
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": NOW}],
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "aud": "authenticated",
        "email": "ada@acme.example",
        "is_anonymous": False,
        "phone": "",
        "role": "authenticated",
        "session_id": "59862e08-2fbe-4e3e-9c4e-6ad0b5a4f3a1",
        "sub": "11111111-1111-1111-1111-111111111111",
        "user_metadata": {"email_verified": True},
    }
    keys = [key(by, key_ops=["verify"], ext=True)]
    header = {"kid": by.kid, "typ": "JWT"}
    issuer = "https://acmeproject.supabase.co/auth/v1"
    return Provider("Supabase", issuer, "authenticated", keys, header, claims, by)


def home_made() -> Provider:
    """A partner's own code: one key, without a name."""
    by = Signer("EdDSA", "", signer("EdDSA", "home-made").private)
    claims = {"aud": "coord", "sub": "4711"}
    keys = [key(by, "kid", "use", "alg")]
    return Provider("a partner's own", "acme", "coord", keys, {}, claims, by)


PROVIDERS: list[Callable[[], Provider]] = [
    *(auth0, auth0_of_rfc_9068, google, firebase, cognito, keycloak, entra, okta, supabase),
    *(lambda: keycloak(signer("ES384", "es")), lambda: keycloak(signer("EdDSA", "ed-1"))),
    *(lambda: keycloak(signer("PS256", "ps")), home_made),
]
