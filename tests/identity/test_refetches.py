"""Keys fetched because of a JWT that no known key has signed: it may be new, or forged."""

import asyncio

import pytest
from support.issuer import NOW, SECRET, Clock, JwksServer, Signer
from support.issuer_keys import NEW, OLD, RENEWED, is_asked, refuse, verify, withhold

from app.identity.issuers import REFETCHES, IssuerKeys

pytestmark = pytest.mark.anyio


async def test_a_new_key_works_at_once(keys: IssuerKeys, server: JwksServer, ticks: Clock) -> None:
    await verify(keys, OLD)
    server.keys = [OLD.jwk, NEW.jwk]
    ticks.now = 0.1
    await verify(keys, NEW)
    await verify(keys, OLD)
    assert server.fetches == 2


async def test_a_new_key_under_the_old_name_works_at_once(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    server.keys = [RENEWED.jwk]
    ticks.now = 0.1
    await verify(keys, RENEWED)
    await refuse(keys, OLD)


async def test_a_key_published_while_a_fetch_is_under_way_works_at_once(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    """The answer under way may be from before: then the keys are fetched once more."""
    await verify(keys, OLD)
    server.asked.clear()
    server.go_on.clear()
    ticks.now = 240
    await verify(keys, OLD)
    await is_asked(server)
    server.keys = [OLD.jwk, NEW.jwk]
    ticks.now = 241
    requests = [asyncio.create_task(verify(keys, NEW)) for _ in range(5)]
    await asyncio.sleep(0)
    server.go_on.set()
    await asyncio.gather(*requests)
    assert server.fetches == 3


async def test_forged_kids_use_up_the_refetches_and_then_wait(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    """A burst, then one in 10 seconds; in between it is 503, as the kid may be a new one's."""
    await verify(keys, OLD)
    for n in range(REFETCHES):
        ticks.now = 1 + n / 100
        await refuse(keys, OLD, f"forged-{n}")
    assert server.fetches == 1 + REFETCHES
    ticks.now = 2
    assert await withhold(keys, OLD, "forged") == 9
    assert await withhold(keys, NEW) == 9
    await verify(keys, OLD)
    assert server.fetches == 1 + REFETCHES
    server.keys = [OLD.jwk, NEW.jwk]
    ticks.now = 11
    await refuse(keys, OLD, "forged")
    await verify(keys, NEW)
    assert server.fetches == 2 + REFETCHES


async def test_refetches_are_saved_up_to_a_burst(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    ticks.now = 200
    for n in range(REFETCHES):
        ticks.now += 0.01
        await refuse(keys, OLD, f"forged-{n}")
    ticks.now += 0.01
    assert await withhold(keys, OLD, "forged") == 10


async def test_a_crowd_with_forged_kids_shares_fetches(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    ticks.now = 1
    await asyncio.gather(*[refuse(keys, OLD, f"forged-{n}") for n in range(50)])
    assert server.fetches == 2


async def test_a_forged_kid_at_the_first_fetch_causes_no_second_one(
    keys: IssuerKeys, server: JwksServer
) -> None:
    await refuse(keys, OLD, "forged")
    assert server.fetches == 1


async def test_an_hmac_causes_no_refetch(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    """No published key will ever fit it."""
    await verify(keys, OLD)
    ticks.now = 1
    await refuse(keys, Signer("HS256", "new", SECRET))
    assert server.fetches == 1


async def test_a_refetch_that_hangs_is_not_waited_for(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    server.go_on.clear()
    server.asked.clear()
    ticks.now = 1
    waiting = asyncio.create_task(verify(keys, NEW))
    await is_asked(server)
    ticks.now = 6
    assert await withhold(keys, NEW) == 10
    server.keys = [NEW.jwk]
    waiting.cancel()
    server.go_on.set()


async def test_a_crowd_with_jwts_of_a_withdrawn_key_is_refused_at_once(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    """As after a leak: not 503 by turns, but 401, so that each user gets a new JWT signed.

    They were signed long before the keys were fetched, so their key would have been among them.
    """
    await verify(keys, OLD)
    server.keys = [NEW.jwk]
    ticks.now = 1
    await verify(keys, NEW)
    for _ in range(20):
        ticks.now += 0.4
        await refuse(keys, OLD, issued_at=NOW - 3600)
    assert server.fetches == 2
    ticks.now += 10
    await refuse(keys, OLD, issued_at=NOW - 3600)
    assert server.fetches == 3


@pytest.mark.parametrize("issued_at", [NOW - 29, NOW, NOW + 99, None, "0"])
async def test_a_jwt_that_may_be_newer_than_the_keys_is_looked_into(
    keys: IssuerKeys, server: JwksServer, ticks: Clock, issued_at: object
) -> None:
    """As clocks differ, and as not each JWT says when it was issued."""
    await verify(keys, OLD)
    ticks.now = 0.5
    await refuse(keys, NEW, issued_at=issued_at)
    assert server.fetches == 2
