"""What makes a standby the leader."""

import time
from collections.abc import Callable

from failover.cluster import Cluster
from failover.network import Network

EVENTS = ("kill", "cut off", "PostgreSQL alone", "Patroni alone", "switchover")
# How long the standbys get nothing before their leader is killed, in seconds. As long as a busy
# network may hold packets back; without it, a leader's last commits would rarely be missing.
HELD_BACK = 0.7


def strike(
    network: Network, cluster: Cluster, event: str, wait_for_saves: Callable[[], None]
) -> float:
    """Have an event happen, and wait until another node leads and cards are saved again.

    Args:
        network: of the cluster.
        cluster: a whole one.
        event: one of `EVENTS`.
        wait_for_saves: called before the old leader comes back, if it does not by itself.

    Returns:
        When it happened, by `time.monotonic`.
    """
    leader = cluster.leader()
    assert leader is not None

    def wait_for_another() -> None:
        cluster.wait_for(lambda: cluster.leader() not in (None, leader), "a new leader")
        wait_for_saves()

    if event == "kill":
        cluster.hold_back(leader)
        time.sleep(HELD_BACK)
    struck = time.monotonic()
    if event == "switchover":
        cluster.switch_over()
        wait_for_another()
    elif event == "cut off":
        with network.cut_off(leader):
            wait_for_another()
    elif event == "PostgreSQL alone":
        # Patroni starts it again by itself.
        cluster.kill(leader, patroni=False)
        wait_for_another()
    else:
        cluster.kill(leader, postgresql=event != "Patroni alone")
        wait_for_another()
        cluster.start(leader)
    return struck
