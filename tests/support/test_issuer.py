"""The stand-in for issuers, which the tests of identity rely on."""

import httpx
import jwt
import pytest
from support.issuer import AUDIENCE, PUBLIC_ALGORITHMS, JwksServer, forge, signer


@pytest.mark.parametrize("algorithm", PUBLIC_ALGORITHMS)
def test_its_jwts_are_genuine_by_another_reading(algorithm: str) -> None:
    """PyJWT, in full, believes what is forged with nothing changed."""
    key = jwt.PyJWK(signer(algorithm).jwk)
    token = forge(by=signer(algorithm))
    claims = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == "user-1"


def test_it_publishes_its_keys_and_counts_the_requests() -> None:
    with JwksServer(signer().jwk) as server:
        assert httpx.get(server.url, trust_env=False).json() == {"keys": [signer().jwk]}
        assert server.fetches == 1
