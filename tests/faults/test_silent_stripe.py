"""Stripe takes calls and says nothing, with requests piling up."""

import asyncio
import dataclasses
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from faults.call_faults import FAULTS
from faults.deployment import Deployment, program
from support.postgresql import PostgreSql
from support.server_process import ServerProcess, serving

# What `/healthz` may take, and how soon all must be as before, in seconds.
HEALTHY, BACK = 0.1, 5.0
# Within how many seconds all callers come: a crowd in one moment is for `tests/web/test_edge.py`.
COMING = 1.0


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


def confine(cores: set[int], *pids: int) -> None:
    """Confine processes, with all their threads, to these cores."""
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), cores)


@contextmanager
def undisturbed(server: ServerProcess, *others: int) -> Iterator[None]:
    """Confine the server to one of two cores, and everything else to the other."""
    first, *rest = cores = sorted(os.sched_getaffinity(0))
    confine({first}, server.process.pid)
    confine(set(rest), os.getpid(), *others)
    try:
        yield
    finally:
        confine(set(cores), os.getpid(), *others)


@pytest.mark.measures
@pytest.mark.parametrize(
    ("seconds", "callers"),
    [(4.0, 100), pytest.param(60.0, 200, marks=pytest.mark.long)],
)
def test_silent_stripe(
    on_postgresql: Deployment,
    postgres: PostgreSql,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    callers: int,
) -> None:
    """Every caller is answered in its time, the probes work, and afterwards all is as before."""
    deployment = on_postgresql
    # What measures the tests would be measured with the service.
    for name in os.environ:
        if "COVERAGE" in name:
            monkeypatch.delenv(name)
    has_core = len(os.sched_getaffinity(0)) > 1
    budget = 5.0
    settings = dataclasses.replace(deployment.settings, stripe_timeout=3.0, request_timeout=budget)
    tokens = {f"user-{number}": deployment.fake_stripe.account.token() for number in range(callers)}
    log = deployment.log()

    async def all_call(url: str) -> list[int]:
        until = time.monotonic() + seconds

        async def one(subject: str) -> list[int]:
            result = []
            await asyncio.sleep(random.uniform(0.0, COMING))
            while time.monotonic() < until:
                answer = await deployment.callers.save_soon(url, tokens[subject], subject)
                result.append(answer.status)
                await asyncio.sleep(0.5)
            return result

        return [status for each in await asyncio.gather(*map(one, tokens)) for status in each]

    with serving(settings, log) as server:
        assert (
            deployment.save(
                server.url, deployment.fake_stripe.account.token(), "another user"
            ).status
            == 200
        )
        deployment.fake_stripe.fail(FAULTS["hangs before execution"], times=None, method=None)
        alone = undisturbed(server, *postgres.pids()) if has_core else nullcontext()
        with alone, probing(server) as measured:
            result = asyncio.run(all_call(server.url))
        deployment.fake_stripe.heal()
        healed = time.monotonic()
        assert (
            deployment.save(server.url, deployment.fake_stripe.account.token(), "another").status
            == 200
        )
        assert time.monotonic() - healed < BACK
        deployment.settle()
        requests = [event for event in server.events() if event["event"] == "request"]
    assert set(result) <= {503, 409}
    assert len(result) >= callers
    slowest = max(event["seconds"] for event in requests)
    print(f"{len(result)} answers, the slowest after {slowest} s; /healthz: {measured}")
    # By the service's own clock: the callers here wait for their turn in one thread. On one core it
    # may be late, but not as late as if a second call were given its whole time.
    assert slowest < (budget if has_core else budget + 1.0)
    assert measured["number"] > 10
    assert measured["worst" if has_core else "worst_own"] < HEALTHY, measured
    assert deployment.audit().is_clean, deployment.audit()
