"""Stripe takes calls and says nothing, with requests piling up."""

import asyncio
import dataclasses
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from faults.scripted import FAULTS
from faults.world import World, program
from server_process import ServerProcess, serving

# What `/healthz` may take, and how soon all must be as before, in seconds.
HEALTHY, BACK = 0.1, 5.0


@contextmanager
def probing(server: ServerProcess) -> Iterator[dict[str, Any]]:
    """Watch `/healthz` inside the block; what was measured is there at its end."""
    words = (*program("probe.py"), server.url, str(server.process.pid))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as probe:  # type: ignore[call-overload]
        measured: dict[str, Any] = {}
        try:
            yield measured
        finally:
            said, _ = probe.communicate(timeout=60)
        measured.update(json.loads(said))


@pytest.mark.parametrize(
    ("seconds", "callers"),
    [(4.0, 100), pytest.param(60.0, 100, marks=pytest.mark.long)],
)
def test_silent_stripe(
    on_postgresql: World,
    seconds: float,
    callers: int,
) -> None:
    """Every caller is answered in its time, the probes work, and afterwards all is as before."""
    world = on_postgresql
    budget = 5.0
    settings = dataclasses.replace(world.settings, stripe_timeout=3.0, request_timeout=budget)
    tokens = {f"user-{number}": world.double.account.token() for number in range(callers)}
    log = world.log()

    async def all_call(url: str) -> list[int]:
        until = time.monotonic() + seconds

        async def one(subject: str) -> list[int]:
            told = []
            while time.monotonic() < until:
                answer = await world.callers.save_soon(url, tokens[subject], subject)
                told.append(answer.status)
                await asyncio.sleep(0.5)
            return told

        return [status for each in await asyncio.gather(*map(one, tokens)) for status in each]

    with serving(settings, log) as server:
        assert world.save(server.url, world.double.account.token(), "somebody").status == 200
        world.double.fail(FAULTS["hangs before execution"], times=None, method=None)
        with probing(server) as measured:
            told = asyncio.run(all_call(server.url))
        world.double.heal()
        healed = time.monotonic()
        assert world.save(server.url, world.double.account.token(), "another").status == 200
        assert time.monotonic() - healed < BACK
        world.settle()
        requests = [event for event in server.events() if event["event"] == "request"]
    assert set(told) <= {503, 409}
    assert len(told) >= callers
    # By the service's own clock: the callers here wait for their turn in one thread.
    # A second call that were given its whole time would end after 6 s and more.
    assert max(event["seconds"] for event in requests) < budget + 1.0
    print(f"/healthz: {measured}")
    assert measured["number"] > 10
    assert measured["worst_own"] < HEALTHY, measured
    assert world.audit().is_clean, world.audit()
