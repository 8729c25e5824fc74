"""Fixtures: a network, a cluster on it, and the fake Stripe."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from failover.cluster import Cluster, Programs
from failover.network import Network
from faults.deployment import Deployment
from faults.fake_stripe import FakeStripe

from app.storage.database import Database

# A leader and two standbys: one may be lost, and commits still have a standby to wait for.
NODES = 3


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Return the network, which only root can make."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    Programs()
    with Network(NODES) as made:
        yield made


@pytest.fixture(scope="session")
def cluster(network: Network) -> Iterator[Cluster]:
    """Return a whole cluster, whose commits are synchronous."""
    with Cluster(network, Programs()) as made:
        yield made


@pytest.fixture
def make_deployment(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[str, str], Deployment]]:
    """Return a function that makes the surroundings of a service with the default timeouts.

    It takes the name of a new database, and the URL at which the service shall reach it.
    """
    with FakeStripe() as fake_stripe:
        # About as long as Stripe takes, in seconds: calls are under way when the leader dies.
        fake_stripe.processing = 0.2
        deployments: list[Deployment] = []

        def make(name: str, url: str) -> Deployment:
            cluster.create(name)
            database = Database(cluster.url(name))
            database.migrate()
            database.close()
            deployment = Deployment(cluster.url(name), fake_stripe, tmp_path)
            deployment.settings = replace(
                deployment.settings, database_url=url, stripe_timeout=20.0, request_timeout=25.0
            )
            deployments.append(deployment)
            return deployment

        yield make
        for deployment in deployments:
            deployment.database.close()
