"""Many machines on one PostgreSQL: behind a balancer, and with clocks that differ."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.balancer import Balancer
from faults.caller import Lost
from faults.deployment import DEADLINE, Deployment, Load, program
from support.server_process import ServerProcess, serving

import app

CLIENTS = 16
CLOCK = re.compile(r"\btime\.time|time_ns|datetime\.(now|utcnow|today)|gmtime\(\)")


@contextmanager
def closed(balancer: Balancer) -> Iterator[Balancer]:
    yield balancer
    balancer.stop()


def test_server_killed_behind_a_balancer(on_postgresql: Deployment) -> None:
    """No caller who retries loses anything, and none is told of a failure that is final."""
    deployment = on_postgresql
    deployment.fake_stripe.processing = 0.05
    victim = ServerProcess(deployment.settings, deployment.log())
    victim.wait_until_ready()
    with (
        serving(deployment.settings, deployment.log()) as other,
        closed(Balancer([victim.url, other.url])) as balancer,
        ThreadPoolExecutor(CLIENTS) as threads,
    ):
        load = Load(deployment, lambda: [balancer.url])
        clients = [threads.submit(load.client, f"user-{number}") for number in range(CLIENTS)]
        try:
            load.wait_for(CLIENTS)
            victim.process.kill()
            assert victim.process.wait(10) == -9
            load.wait_for(2 * CLIENTS)
        finally:
            load.over.set()
        for each in clients:
            each.result(DEADLINE)
        deployment.settle()
    # It was at work when it was killed, or this shows nothing.
    assert load.counts["lost"]
    assert len(deployment.fake_stripe.account.live()) == CLIENTS
    assert deployment.audit().is_clean, deployment.audit()


def behind(deployment: Deployment, seconds: float) -> ServerProcess:
    """Start a server whose machine's clock is so much off."""
    server = ServerProcess(
        deployment.settings, deployment.log(), program=program("skewed.py"), SKEW=str(seconds)
    )
    server.wait_until_ready()
    return server


@pytest.fixture
def without_retries(on_postgresql: Deployment) -> None:
    """Send no call twice."""
    on_postgresql.take_time()


@pytest.fixture
def machines(on_postgresql: Deployment) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Yield two servers whose clocks differ by a minute."""
    servers = behind(on_postgresql, -30.0), behind(on_postgresql, 30.0)
    yield servers
    for server in servers:
        server.process.terminate()
        server.process.wait(DEADLINE)


@pytest.mark.usefixtures("without_retries")
@pytest.mark.parametrize("slow", [0, 1], ids=["behind", "ahead"])
def test_clocks_that_differ_do_not_end_a_lease(
    on_postgresql: Deployment, machines: tuple[ServerProcess, ServerProcess], slow: int
) -> None:
    """What one machine is at is left alone by the other: one call for each card, one by one."""
    deployment = on_postgresql
    deployment.fake_stripe.processing = 1.0
    first, second = deployment.fake_stripe.account.token(), deployment.fake_stripe.account.token()
    with ThreadPoolExecutor(2) as threads:
        pending = threads.submit(deployment.save, machines[slow].url, first, "user-1")
        while not deployment.fake_stripe.calls:
            assert not pending.done(), pending.result()
            time.sleep(0.01)
        assert deployment.save(machines[1 - slow].url, second, "user-1").status == 200
        assert pending.result(DEADLINE).status == 200
    assert [entry.token for entry in deployment.fake_stripe.account.ledger] == [first, second]
    assert len(deployment.fake_stripe.calls) == 2
    one, two = deployment.fake_stripe.account.ledger
    assert two.at - one.at > deployment.fake_stripe.processing
    assert deployment.audit().is_clean, deployment.audit()


@pytest.mark.long
@pytest.mark.parametrize("killed", [0, 1], ids=["behind", "ahead"])
def test_clocks_that_differ_do_not_keep_a_lease(
    on_postgresql: Deployment, machines: tuple[ServerProcess, ServerProcess], killed: int
) -> None:
    """What a killed machine was at is finished by the other within the minute, by itself."""
    deployment = on_postgresql
    deployment.fake_stripe.on_executed = lambda _call: machines[killed].process.kill()
    token = deployment.fake_stripe.account.token()
    with pytest.raises(Lost):
        deployment.save(machines[killed].url, token, "user-1")
    deployment.fake_stripe.on_executed = None
    assert deployment.settle() < DEADLINE
    assert deployment.save(machines[1 - killed].url, token, "user-1").status == 200
    assert len(deployment.fake_stripe.account.ledger) == 1
    assert deployment.audit().is_clean, deployment.audit()


def test_service_reads_its_clock_in_few_places() -> None:
    """For JWTs, which are dated by others' clocks, and for what is old by hours; never for leases.

    Where it does so otherwise, the two tests above may not see it.
    """
    readers = {
        f"{path.parent.name}/{path.name}"
        for path in Path(app.__file__).parent.rglob("*.py")
        if CLOCK.search(path.read_text()) and "sandbox" not in path.parts
    }
    assert readers == {
        "identity/credentials.py",
        "reconciliation/comparison.py",
        "reconciliation/installations.py",
    }
