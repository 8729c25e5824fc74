"""A replicated PostgreSQL loses its leader under load: no save that was acknowledged is lost."""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from failover.cluster import Cluster
from failover.events import EVENTS, strike
from failover.figures import Figures, figures_of
from failover.load import CLIENTS, Load
from failover.network import Network
from failover.picture import draw
from faults.deployment import Deployment
from sqlalchemy import select
from support.command import run
from support.server_process import environ_of, serving

from app.storage.tables import users

pytestmark = pytest.mark.failover
RESULTS = Path(__file__).parent / "results"
COMMAND = "tox run -e failover"
# How often each event happens.
ROUNDS = int(os.environ.get("FAILOVER_ROUNDS", "4"))
# How many cards are saved before each event and after it.
CARDS = 8 * CLIENTS
# How much longer than the gap a user may wait, in seconds. A lease of a process that has given up
# would last 23 s and more; 2 s are usual, and a busy machine is given some more.
LAST_USER = 6.0
# The same if the URL has several hosts, as some sessions may still find the old leader, whose
# commits are given up after 6 s.
LAST_USER_OF_SEVERAL_HOSTS = 20.0
# The events of the shorter runs.
WITH_SEVERAL_HOSTS = ("kill", "Patroni alone", "switchover")
KILLS = 3


def fail_over(
    network: Network, cluster: Cluster, deployment: Deployment, url: str, name: str, event: str
) -> Figures:
    """Have one event happen under load, and compare what is stored with what callers got."""
    cluster.wait_until_whole()
    load = Load(deployment, url, name, allowed=(200, 409, 503))
    load.wait_for_saves(CARDS)
    struck = strike(network, cluster, event, lambda: load.wait_for_saves(CLIENTS))
    load.wait_for_saves(CARDS)
    load.end()
    deployment.settle()
    found = deployment.audit()
    assert found.is_clean, (event, found)
    assert all(len(ids) == 1 for ids in load.customers.values()), load.customers
    figures = figures_of(event, load, struck)
    print(figures.line(), flush=True)
    return figures


def test_no_acknowledged_save_is_lost(
    network: Network, cluster: Cluster, make_deployment: Callable[[str, str], Deployment]
) -> None:
    """Through HAProxy, with commits that wait for a standby: twenty events, and no operator."""
    deployment = make_deployment("synchronous", cluster.url("synchronous"))
    assert "commits\tsynchronous\n" in run("check", **environ_of(deployment.settings)).stdout
    figures: list[Figures] = []
    with serving(deployment.settings, deployment.log(), "--workers", "2") as server:
        assert server.wait_for_event("serving")["commits"] == "synchronous"
        for number in range(ROUNDS * len(EVENTS)):
            event, name = EVENTS[number % len(EVENTS)], f"event-{number}"
            figures.append(fail_over(network, cluster, deployment, server.url, name, event))
    publish(figures)
    assert max(one.last_user for one in figures) < LAST_USER


def test_several_hosts_in_the_url(
    network: Network, cluster: Cluster, make_deployment: Callable[[str, str], Deployment]
) -> None:
    """No HAProxy, and no fence: cards are saved again although the old leader hangs."""
    deployment = make_deployment("several", cluster.url_of_all("several"))
    with serving(deployment.settings, deployment.log(), "--workers", "2") as server:
        figures = [
            fail_over(network, cluster, deployment, server.url, event, event)
            for event in WITH_SEVERAL_HOSTS
        ]
    write("several_hosts.json", [summary(one) for one in figures])
    assert max(one.last_user for one in figures) < LAST_USER_OF_SEVERAL_HOSTS


def test_reconcile_adopts_what_asynchronous_commits_lost(
    network: Network, cluster: Cluster, make_deployment: Callable[[str, str], Deployment]
) -> None:
    """A leader dies with commits that no standby has: no customer is lost, and none deleted."""
    totals: Counter[str] = Counter()
    with cluster.asynchronous():
        deployment = make_deployment("asynchronous", cluster.url("asynchronous"))
        environ = environ_of(deployment.settings)
        assert "commits\tasynchronous. A failover loses" in run("check", **environ).stdout
        with serving(deployment.settings, deployment.log(), "--workers", "2") as server:
            assert server.wait_for_event("serving")["commits"] == "asynchronous"
            for number in range(KILLS):
                cluster.wait_until_whole()
                load = Load(deployment, server.url, f"kill-{number}", allowed=(200, 409, 422, 503))
                load.wait_for_saves(CARDS)
                strike(network, cluster, "kill", partial(load.wait_for_saves, CLIENTS))
                load.end()
                deployment.settle()
                totals += lost_and_adopted(deployment, load, environ)
            totals["duplicate"] = len(deployment.audit().orphans)
    print(dict(totals), flush=True)
    write("asynchronous.json", dict(totals))
    # Else this shows nothing.
    assert totals["lost"]


def lost_and_adopted(deployment: Deployment, load: Load, environ: dict[str, str]) -> Counter[str]:
    """Reconcile after a failover that has lost saves; count what it found."""
    lost = sum(one.partition(":")[0] in load.customers for one in deployment.audit().lost)
    living = {customer.id for customer in deployment.fake_stripe.account.live()}
    printed = run("reconcile", **environ).stdout
    kinds = Counter(line.partition("\t")[0] for line in printed.splitlines())
    found = deployment.audit()
    assert {customer.id for customer in deployment.fake_stripe.account.live()} == living
    # Adopted rows have no subject until their users come back, only the users' hashes, which the
    # auditor compares with the customers' owners.
    with deployment.database.reading() as connection:
        held = set(connection.execute(select(users.c.stripe_customer_id)).scalars())
    assert {deployment.acknowledged[subject].customer_id for subject in load.customers} <= held
    assert found.shared == []
    assert [one for one in found.orphans if one not in printed] == []
    return Counter(
        saved=len(load.cards),
        lost=lost,
        two_ids=sum(len(ids) > 1 for ids in load.customers.values()),
        told_422=load.statuses().get("422", 0),
        adopted=kinds["adopted"],
    )


def publish(figures: list[Figures]) -> None:
    """Write the figures down, and draw the first event of each kind."""
    write("synchronous.json", [summary(one) for one in figures])
    draw(figures[: len(EVENTS)], RESULTS / "failover.svg", COMMAND)


def summary(figures: Figures) -> dict[str, object]:
    """Return the figures without each single response."""
    return {**asdict(figures), "responses": len(figures.responses)}


def write(name: str, content: object) -> None:
    """Write a file of results."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(content, indent=1) + "\n")
