"""The settings of the programs that replicate PostgreSQL: Patroni, etcd and HAProxy."""

from pathlib import Path
from typing import Any

USER = "postgres"
ETCD, ETCD_PEER, HAPROXY, POSTGRESQL, PATRONI = 2379, 2380, 5000, 5432, 8008
# Patroni's shortest timers in seconds, so that a failover takes seconds. PostgreSQL that dies alone
# is not started again on the leader: another node takes over at once.
TIMERS = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2, "primary_start_timeout": 0}
# Three nodes stay small, and a standby sees within seconds that its leader is gone.
PARAMETERS = {
    "max_connections": 200,
    "shared_buffers": "32MB",
    "wal_log_hints": "on",
    "wal_keep_size": "128MB",
    "wal_sender_timeout": "3s",
    "wal_receiver_timeout": "3s",
    "wal_retrieve_retry_interval": "200ms",
}
# What deploy/README.md recommends to operators.
BALANCER = """
defaults
    mode tcp
    retries 2
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout check 1s
listen leader
    bind {here}:{port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 500ms fastinter 200ms downinter 200ms fall 2 rise 1
    default-server on-marked-down shutdown-sessions
"""


def synchronous(*, is_so: bool) -> dict[str, bool]:
    """Return the settings by which commits wait for a standby, and none is saved without one."""
    return {"synchronous_mode": is_so, "synchronous_mode_strict": is_so}


def balancer(here: str, nodes: list[str]) -> str:
    """Return HAProxy's configuration.

    Args:
        here: the address to listen on.
        nodes: the addresses of PostgreSQL and Patroni.
    """
    servers = [f"    server {node} {node}:{POSTGRESQL} check port {PATRONI}\n" for node in nodes]
    return BALANCER.format(here=here, port=HAPROXY) + "".join(servers)


def etcd(here: str, folder: Path) -> list[str]:
    """Return the options of etcd, with timers that fit Patroni's."""
    client, peer = f"http://{here}:{ETCD}", f"http://{here}:{ETCD_PEER}"
    options = {
        "name": "etcd", "data-dir": str(folder), "initial-cluster": f"etcd={peer}",
        "listen-client-urls": client, "advertise-client-urls": client,
        "listen-peer-urls": peer, "initial-advertise-peer-urls": peer,
        "heartbeat-interval": "50", "election-timeout": "500",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return ["--unsafe-no-fsync", *words]


def node(name: str, address: str, etcd_host: str, folder: Path, binaries: Path) -> dict[str, Any]:
    """Return Patroni's configuration of one node.

    Args:
        name: of the node.
        address: of the node.
        etcd_host: the address of etcd.
        folder: holds the node's data.
        binaries: the folder with all of PostgreSQL's programs.
    """
    api, postgresql = f"{address}:{PATRONI}", f"{address}:{POSTGRESQL}"
    return {
        "scope": "failover",
        "name": name,
        "restapi": {"listen": api, "connect_address": api},
        "etcd3": {"host": f"{etcd_host}:{ETCD}"},
        "bootstrap": {
            "dcs": {
                **TIMERS,
                **synchronous(is_so=True),
                "postgresql": {"use_pg_rewind": True, "parameters": PARAMETERS},
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums", "no-sync"],
        },
        "postgresql": {
            "listen": postgresql,
            "connect_address": postgresql,
            "data_dir": str(folder / "data"),
            "bin_dir": str(binaries),
            "pgpass": str(folder / "pgpass"),
            "authentication": {
                "superuser": {"username": USER, "password": "x"},
                "replication": {"username": "replicator", "password": "x"},
                "rewind": {"username": "rewinder", "password": "x"},
            },
            "pg_hba": [
                "local all all trust",
                "host all all samenet trust",
                "host replication all samenet trust",
            ],
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            "parameters": {"unix_socket_directories": str(folder)},
        },
    }
