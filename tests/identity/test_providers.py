"""Partners whose users are at a public identity provider: their JWTs are accepted as they are."""

import json

import pytest
from support.issuer import LEFT_OUT, NOW, JwksServer, Signer, forge, signer
from support.jwt_verification import verified_user
from support.providers import PROVIDERS, Provider, cognito, entra, keycloak

from app.errors import ConfigurationError, InvalidUserToken
from app.identity.jwks import KeySource
from app.identity.jwts import parse
from app.identity.keys import read_jwk_set

DISCOVERY = "/.well-known/openid-configuration"
ALL = [provider() for provider in PROVIDERS]


def published(provider: Provider, server: JwksServer) -> None:
    """Publish the keys, and the document that leads to them (OpenID Connect Discovery 1.0)."""
    server.keys = provider.keys
    document = {
        "issuer": provider.issuer,
        "authorization_endpoint": f"{server.base}/authorize",
        "jwks_uri": f"{server.base}/keys",
        "id_token_signing_alg_values_supported": [provider.by.algorithm],
        "subject_types_supported": ["public", "pairwise"],
    }
    server.answers[DISCOVERY] = (200, {}, json.dumps(document).encode())


def users_jwt(provider: Provider, **claims: object) -> str:
    issued = {"iss": provider.issuer, "iat": NOW, "exp": NOW + 3600}
    header = {"alg": provider.by.algorithm, **provider.header}
    given = {
        name: value
        for name, value in {**issued, **provider.claims, **claims}.items()
        if value is not LEFT_OUT
    }
    return forge(json.dumps(header).encode(), json.dumps(given).encode(), by=provider.by)


@pytest.mark.parametrize("path", ["/keys", DISCOVERY], ids=["keys", "discovery"])
@pytest.mark.parametrize("provider", ALL, ids=lambda provider: provider.name)
def test_a_users_jwt_is_accepted(provider: Provider, path: str) -> None:
    """Whether the operator has registered the keys' own address or the discovery document's."""
    with JwksServer() as server:
        published(provider, server)
        keys = KeySource(server.base + path).check(provider.issuer)
    jwt = users_jwt(provider)
    user = verified_user(jwt, keys)
    assert (user.issuer, user.subject) == (provider.issuer, provider.claims["sub"])
    assert provider.audience in parse(jwt).audiences
    for name in ("email", "given_name", "family_name"):
        assert getattr(user, name) == provider.claims.get(name)


@pytest.mark.parametrize("provider", ALL, ids=lambda provider: provider.name)
def test_all_keys_to_verify_with_are_used(provider: Provider) -> None:
    keys = read_jwk_set({"keys": provider.keys})
    meant = [key for key in provider.keys if key.get("use", "sig") == "sig"]
    assert [key.kid for key in keys.usable] == [key.get("kid") for key in meant]
    assert len(keys.passed_over) == len(provider.keys) - len(meant)


def test_keycloaks_key_for_encryption_is_passed_over() -> None:
    (passed_over,) = read_jwk_set({"keys": keycloak().keys}).passed_over
    assert str(passed_over) == "the key 'keycloak-enc' has a `use` other than sig"


@pytest.mark.parametrize("provider", ALL, ids=lambda provider: provider.name)
def test_the_same_jwt_by_another_is_refused(provider: Provider) -> None:
    """The same header and claims, signed by a key that the provider does not publish."""
    thief = Signer(provider.by.algorithm, "", signer(provider.by.algorithm, "thief").private)
    jwt = parse(users_jwt(provider._replace(by=thief)))
    with pytest.raises(InvalidUserToken, match="signature"):
        read_jwk_set({"keys": provider.keys}).check_signature(jwt)


def test_an_access_token_of_cognito_is_refused_by_name() -> None:
    """It has no `aud`, so it could be meant for any application; the id token has one."""
    provider = cognito()
    with pytest.raises(InvalidUserToken, match="no `aud`"):
        parse(users_jwt(provider, aud=LEFT_OUT, token_use="access", client_id=provider.audience))


def test_entras_document_for_all_tenants_is_refused() -> None:
    """Its issuer is a pattern; a tenant's own document names the tenant."""
    provider = entra()
    with JwksServer() as server:
        anyones = "https://login.microsoftonline.com/{tenantid}/v2.0"
        published(provider._replace(issuer=anyones), server)
        with pytest.raises(ConfigurationError, match="issuer is not the one given"):
            KeySource(server.base + DISCOVERY).check(provider.issuer)


def test_the_certificates_of_firebase_are_no_jwk_set() -> None:
    """At another address, Google publishes the same keys as X.509 certificates by `kid`."""
    with JwksServer() as server:
        server.body = json.dumps({"kid-1": "-----BEGIN CERTIFICATE-----\nMIIB"}).encode()
        with pytest.raises(ConfigurationError, match="A JWK Set is an object"):
            KeySource(server.url).check("https://securetoken.google.com/acme-mobility")
