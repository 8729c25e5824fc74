"""An issuer's keys over a real socket, with time standing still."""

from collections.abc import Callable, Iterator

import anyio
import pytest
from support.issuer import DEADLINE, ISSUER, NOW, Clock, JwksServer, Signer, forge, signer

from app.errors import InvalidUserToken, IssuerUnavailable
from app.identity.issuers import IssuerKeys
from app.identity.jwks import KeySource
from app.identity.jwts import parse
from app.telemetry.metrics import Metrics

OLD, NEW = signer(kid="old"), signer("ES256", "new")
# The new key under the old one's name.
RENEWED = Signer("RS256", "old", signer(kid="renewed").private)
NAMES = {"partner": "Acme", "issuer": ISSUER}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer(OLD.jwk) as running:
        yield running


@pytest.fixture
def ticks() -> Clock:
    return Clock(0.0)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def keys(server: JwksServer, metrics: Metrics, ticks: Clock) -> IssuerKeys:
    return IssuerKeys(KeySource(server.url), NAMES, metrics, ticks)


async def verify(
    keys: IssuerKeys, by: Signer, kid: str | None = None, issued_at: object = NOW
) -> None:
    token = forge({"kid": kid or by.kid}, {"iat": issued_at}, by=by)
    await keys.check_signature(parse(token), NOW)


async def refuse(
    keys: IssuerKeys, by: Signer, kid: str | None = None, issued_at: object = NOW
) -> None:
    with pytest.raises(InvalidUserToken):
        await verify(keys, by, kid, issued_at)


async def withhold(keys: IssuerKeys, by: Signer, kid: str | None = None) -> int:
    """Verify what cannot be verified now; return after how many seconds to try again."""
    with pytest.raises(IssuerUnavailable) as withheld:
        await verify(keys, by, kid)
    assert withheld.value.retry_after is not None
    return withheld.value.retry_after


async def until(condition: Callable[[], object]) -> None:
    """Run other tasks until the condition holds."""
    with anyio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await anyio.sleep(0.001)


async def is_asked(server: JwksServer) -> None:
    assert await anyio.to_thread.run_sync(server.asked.wait, DEADLINE)
