"""Fixtures: a network, a cluster on it, and the double of Stripe."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from failover.cluster import Cluster, Programs
from failover.network import Network
from faults.double import Double
from faults.world import World

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
def make_world(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[str, str], World]]:
    """Return a function that makes the surroundings of a service with the default timeouts.

    It takes the name of a new database, and the URL at which the service shall reach it.
    """
    with Double() as double:
        # About as long as Stripe takes, in seconds: calls are under way when the leader dies.
        double.processing = 0.2
        worlds: list[World] = []

        def make(name: str, url: str) -> World:
            cluster.create(name)
            database = Database(cluster.url(name))
            database.migrate()
            database.close()
            world = World(cluster.url(name), double, tmp_path)
            world.settings = replace(
                world.settings, database_url=url, stripe_timeout=20.0, request_timeout=25.0
            )
            worlds.append(world)
            return world

        yield make
        for world in worlds:
            world.database.close()
