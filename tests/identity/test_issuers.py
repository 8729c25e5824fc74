"""An issuer's keys: when they are fetched, used and kept, and what is reported of them."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.issuer import DEADLINE, ISSUER, Clock, JwksServer, signer
from support.issuer_keys import NAMES, NEW, OLD, is_asked, refuse, until, verify, withhold

from app.identity import issuers, jwks
from app.identity.issuers import IssuerKeys
from app.identity.jwks import KeySource
from app.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio


async def test_keys_are_fetched_once_and_kept(keys: IssuerKeys, server: JwksServer) -> None:
    await verify(keys, OLD)
    await verify(keys, OLD)
    assert server.fetches == 1


async def test_requests_at_the_same_time_share_one_fetch(
    keys: IssuerKeys, server: JwksServer
) -> None:
    await asyncio.gather(*[verify(keys, OLD) for _ in range(20)])
    assert server.fetches == 1


async def test_a_request_that_gives_up_does_not_end_the_fetch_for_others(
    keys: IssuerKeys, server: JwksServer
) -> None:
    server.go_on.clear()
    first = asyncio.create_task(verify(keys, OLD))
    await is_asked(server)
    second = asyncio.create_task(verify(keys, OLD))
    first.cancel()
    server.go_on.set()
    await second
    assert first.cancelled()
    assert server.fetches == 1


async def test_keys_are_fetched_in_the_background_before_they_expire(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    ticks.now = 239
    await verify(keys, OLD)
    assert server.fetches == 1
    ticks.now = 240
    server.go_on.clear()
    await verify(keys, OLD)
    assert keys._fetch is not None, "the issuer is asked, and no request waits for its answer"
    server.go_on.set()
    await until(lambda: keys._fetch is None)
    assert server.fetches == 2


async def test_a_withdrawn_key_is_trusted_until_the_keys_expire(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    server.keys = [NEW.jwk]
    ticks.now = 300
    await refuse(keys, OLD)
    await verify(keys, NEW)
    assert server.fetches == 2


async def test_the_life_counts_from_when_the_fetch_began(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    server.go_on.clear()
    first = asyncio.create_task(verify(keys, OLD))
    await is_asked(server)
    ticks.now = 2
    server.go_on.set()
    await first
    server.keys = []
    ticks.now = 300
    await refuse(keys, OLD)


async def test_a_given_key_set_is_read_once(metrics: Metrics, ticks: Clock) -> None:
    keys = IssuerKeys(KeySource(jwks={"keys": [OLD.jwk]}), NAMES, metrics, ticks)
    with capture_logs() as events:
        for ticks.now in (0, 1000):
            await verify(keys, OLD)
            await refuse(keys, NEW)
    assert [event["event"] for event in events] == ["issuer's keys read"]


async def test_old_keys_are_used_while_the_issuer_is_away(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    """It is tried again every 10 seconds. What no old key has signed must wait for it."""
    await verify(keys, OLD)
    server.status = 503
    for ticks.now in (300, 301, 309.9):
        await verify(keys, OLD)
        assert await withhold(keys, NEW) in range(1, 11)
    assert server.fetches == 2
    ticks.now = 310
    await verify(keys, OLD)
    await until(lambda: keys._fetch is None)
    assert server.fetches == 3
    server.status, server.keys = 200, [NEW.jwk]
    ticks.now = 320
    await verify(keys, NEW)
    await refuse(keys, OLD)


async def test_only_the_first_requests_wait_for_an_issuer_that_hangs(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    server.status = 503
    ticks.now = 300
    await verify(keys, OLD)
    server.asked.clear()
    server.go_on.clear()
    ticks.now = 310
    await verify(keys, OLD)
    await is_asked(server)
    server.go_on.set()


async def test_an_issuer_that_never_answered_is_not_the_users_fault(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    """503, and soon it is tried again."""
    server.status = 500
    for ticks.now in (0, 1, 9.9):
        assert await withhold(keys, OLD) == 10
    assert server.fetches == 1
    server.status = 200
    ticks.now = 10
    await verify(keys, OLD)


async def test_no_request_waits_long_for_an_issuer_that_hangs(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    """Here the thread itself hangs, as with a name server, and its timeout with it."""
    server.go_on.clear()
    first = asyncio.create_task(verify(keys, OLD))
    await is_asked(server)
    ticks.now = 4.0
    assert await withhold(keys, OLD) == 10
    server.go_on.set()
    await first
    assert server.fetches == 1


async def test_issuers_that_hang_delay_no_other(
    metrics: Metrics, ticks: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a thread of its own."""
    # They hang for as long as this test takes, also on a busy machine.
    monkeypatch.setattr(issuers, "FETCH_TIMEOUT", DEADLINE)
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT", DEADLINE)
    with JwksServer(OLD.jwk) as hanging, JwksServer(OLD.jwk) as well:
        hanging.go_on.clear()
        waiting = []
        for _ in range(16):
            keys = IssuerKeys(KeySource(hanging.url), NAMES, metrics, ticks)
            waiting.append(asyncio.create_task(verify(keys, OLD)))
        await until(lambda: hanging.fetches == 16)
        await verify(IssuerKeys(KeySource(well.url), NAMES, metrics, ticks), OLD)
        hanging.go_on.set()
        await asyncio.gather(*waiting)


async def test_an_empty_set_withdraws_all_keys(
    keys: IssuerKeys, server: JwksServer, ticks: Clock
) -> None:
    await verify(keys, OLD)
    server.keys = []
    ticks.now = 300
    await refuse(keys, OLD)


async def test_a_failed_fetch_is_logged_and_counted(
    keys: IssuerKeys, server: JwksServer, metrics: Metrics, ticks: Clock
) -> None:
    await verify(keys, OLD)
    server.body = b"<html>"
    ticks.now = 300
    with capture_logs() as events:
        await verify(keys, OLD)
    assert events == [
        {
            "event": "issuer's keys not read",
            "log_level": "warning",
            "reason": "The JWK Set is not valid JSON",
            **NAMES,
        }
    ]
    for outcome in ("success", "failure"):
        labels = {**NAMES, "outcome": outcome}
        assert metrics.registry.get_sample_value("coord_users_issuer_fetches_total", labels) == 1


WEAK: dict[str, Any] = {"kty": "RSA", "n": OLD.jwk["n"][:170], "e": "AQAB", "kid": "weak"}


async def test_a_key_that_is_passed_over_is_logged_once_and_counted(
    keys: IssuerKeys, server: JwksServer, metrics: Metrics, ticks: Clock
) -> None:
    """A private one is an error: the issuer must act at once. Nothing of it is logged."""
    private = signer("EdDSA", "leaked").private_jwk
    server.keys = [OLD.jwk, WEAK, private]
    with capture_logs() as events:
        for ticks.now in (0, 300, 600):
            await verify(keys, OLD)
    passed_over = [event for event in events if event["event"] == "key passed over"]
    assert [(event["log_level"], event["kid"]) for event in passed_over] == [
        ("warning", "'weak'"),
        ("error", "without a proper kid"),
    ]
    assert all(event["issuer"] == ISSUER and event["reason"] for event in passed_over)
    assert private["d"] not in str(events)
    for kind in ("private", "other"):
        labels = {**NAMES, "kind": kind}
        name = "coord_users_issuer_keys_passed_over"
        assert metrics.registry.get_sample_value(name, labels) == 1
