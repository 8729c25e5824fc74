"""`kill -9`, of real processes: at each named point of the rule, and at random moments."""

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from faults.caller import Lost
from faults.deployment import Deployment, Load, program
from faults.restartable_server import RestartableServer
from support.server_process import ServerProcess, serving

POINTS = ["claim.before", "claim.after", "call.at", "call.after", "accept.before", "accept.after"]
# How many servers live at a time, how many clients call them, and how many kills there are.
SERVERS, CLIENTS, KILLS = 3, 16, 100
# How many cards are saved before a kill at most, and how long the request has that comes just
# before it, in seconds. Counted in cards, so that servers live longer on a slow machine.
CARDS, HASTE = 4, 0.05


@pytest.mark.long
@pytest.mark.parametrize("point", [*POINTS, "executed"])
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_kill_at_each_point(deployment: Deployment, point: str, has_customer: bool) -> None:
    """After a restart all settles with no operator, and the client's retry converges."""
    token, old = deployment.fake_stripe.account.token(), deployment.fake_stripe.account.token()
    crash = {"CRASH_AT": point, "CRASH_SKIP": str(int(has_customer))}
    server = ServerProcess(
        deployment.settings, deployment.log(), program=program("crash_at.py"), **crash
    )
    server.wait_until_ready()
    before = deployment.save(server.url, old, "user-1").customer_id if has_customer else None
    if point == "executed":
        deployment.fake_stripe.on_executed = lambda _call: server.process.kill()
    with pytest.raises(Lost):
        deployment.save(server.url, token, "user-1")
    assert server.process.wait(10) == -9
    deployment.fake_stripe.on_executed = None
    deployment.acknowledged.clear()
    with serving(deployment.settings, deployment.log()) as successor:
        deployment.settle()
        found = deployment.audit()
        assert found.duplicates == found.orphans == found.dangling == [], found
        assert deployment.save(successor.url, token, "user-1").customer_id in (
            {before} if before else {one.id for one in deployment.fake_stripe.account.live()}
        )
    assert deployment.audit().is_clean, deployment.audit()
    assert len(deployment.fake_stripe.account.live()) == 1


@pytest.fixture
def servers(deployment: Deployment) -> Iterator[list[RestartableServer]]:
    """Yield fork servers that are warm."""
    made = [RestartableServer(deployment.settings, deployment.log()) for _ in range(SERVERS)]
    yield made
    for server in made:
        server.stop()


@pytest.mark.long
def test_kills_at_random_moments_under_load(
    deployment: Deployment, servers: list[RestartableServer]
) -> None:
    """A retried request converges; attempts that are not retried are settled by the completer.

    SEED repeats the moments and the choices of a run, as far as threads and processes allow.

    SEED repeats the moments and the choices of a run, as far as threads and processes allow.
    """
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    moments = [(chance.randint(0, CARDS), chance.uniform(0.0, HASTE)) for _ in range(KILLS)]
    deployment.fake_stripe.processing = 0.02
    alive: set[str] = set()
    load = Load(deployment, lambda: sorted(alive), random.Random(chance.random()), 900.0)
    left = iter(range(KILLS))
    ghosts: list[Future[None]] = []
    kills = Counter[str]()

    def ghost(url: str, subject: str) -> None:
        """Send one request just before the kill, and never retry it."""
        with contextlib.suppress(Lost):
            deployment.save(url, deployment.fake_stripe.account.token(), subject)

    def killer(server: RestartableServer) -> None:
        for number in left:
            server.start()
            alive.add(server.url)
            cards, haste = moments[number]
            load.wait_for(cards)
            ghosts.append(threads.submit(ghost, server.url, f"ghost-{number}"))
            time.sleep(haste)
            server.kill()
            alive.discard(server.url)
            kills[server.url] += 1
        server.start()
        alive.add(server.url)

    with ThreadPoolExecutor(CLIENTS + 2 * SERVERS) as threads:
        clients = [threads.submit(load.client, f"user-{number}") for number in range(CLIENTS)]
        killers = [threads.submit(killer, server) for server in servers]
        try:
            for each in killers:
                each.result()
        finally:
            load.over.set()
        for each in (*clients, *ghosts):
            each.result()
    left_open = len(deployment.audit().open)
    seconds = deployment.settle()
    found = deployment.audit()
    print(f"{kills.total()} kills, {dict(load.counts)}")
    print(f"{left_open} of {len(ghosts)} left open, settled in {seconds:.1f} s")
    print(f"found {found.counts}")
    assert found.is_clean, found
    assert kills.total() == KILLS
    # Else the kills met nobody at work, and show nothing.
    assert load.counts["lost"] > KILLS
