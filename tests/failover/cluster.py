"""A replicated PostgreSQL as operators run it: three nodes under Patroni, etcd and HAProxy."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
from failover import configuration
from failover.network import HERE, Network
from support.needs import need

# In memory, so that fsync costs nothing: only a machine that loses its power would lose anything.
MEMORY = "/dev/shm"
BINARIES = Path("/usr/lib/postgresql")
# How long the cluster may take for anything, in seconds, on a busy machine.
DEADLINE = 240.0


class Programs:
    """Where the programs are; a test that asks for them is skipped if one is missing."""

    def __init__(self) -> None:
        install = "apt-get install patroni etcd-server haproxy postgresql iproute2"
        self.patroni = need("patroni", install)
        self.etcd = need("etcd", install)
        self.haproxy = need("haproxy", install)
        need("ip", install)
        found = sorted(BINARIES.glob("*/bin"), key=lambda it: int(it.parent.name))
        path = os.pathsep.join(map(str, reversed(found)))
        self.postgresql = Path(need("pg_rewind", install, path=path)).parent


class Cluster:
    """The cluster; `with` starts and ends it.

    Args:
        network: its hosts are the nodes.
        programs: what it runs.
    """

    def __init__(self, network: Network, programs: Programs) -> None:
        self._network = network
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="failover-", dir=MEMORY))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._http = httpx.Client(timeout=1.0, trust_env=False)

    def __enter__(self) -> "Cluster":
        self._folder.chmod(0o755)
        self._spawn("etcd", [self._programs.etcd, *configuration.etcd(HERE, self._folder / "etcd")])
        self.wait_for(self._is_etcd_healthy, "etcd")
        self._start_haproxy()
        for node in self._network.hosts:
            self.start(node)
            self.wait_for(lambda: self.leader() is not None, "a leader")
        self.wait_until_whole()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self._network.hosts:
            self.kill(node)
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._http.close()
        shutil.rmtree(self._folder)

    def create(self, database: str) -> None:
        """Create an empty database."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'create database "{database}"')  # type: ignore[call-overload]

    def url(self, database: str) -> str:
        """Return the URL of a database through HAProxy."""
        return f"postgresql://{configuration.USER}@{HERE}:{configuration.HAPROXY}/{database}"

    def url_of_all(self, database: str) -> str:
        """Return the URL of a database with all hosts."""
        hosts = [
            f"{self._network.address(it)}:{configuration.POSTGRESQL}" for it in self._network.hosts
        ]
        return f"postgresql://{configuration.USER}@{','.join(hosts)}/{database}"

    def leader(self) -> int | None:
        """Return the node that Patroni calls the leader."""
        for node in self._network.hosts:
            with contextlib.suppress(httpx.TransportError):
                if self._http.get(self._api(node, "primary")).status_code == 200:
                    return node
        return None

    @contextlib.contextmanager
    def asynchronous(self) -> Iterator[None]:
        """Commit without waiting for a standby inside the block."""
        self._set_synchronous(is_so=False)
        try:
            yield
        finally:
            self._set_synchronous(is_so=True)

    def wait_until_whole(self) -> None:
        """Wait until the leader has all the other nodes for standbys that lack nothing."""
        self.wait_for(self._is_whole, "the whole cluster")

    def start(self, node: int) -> None:
        """Start Patroni on a node, which starts PostgreSQL."""
        folder = self._folder / f"n{node}"
        folder.mkdir(exist_ok=True, mode=0o700)
        shutil.chown(folder, configuration.USER)
        config = self._folder / f"n{node}.yml"
        # JSON is YAML.
        config.write_text(
            json.dumps(
                configuration.node(
                    f"n{node}",
                    self._network.address(node),
                    HERE,
                    folder,
                    self._programs.postgresql,
                )
            )
        )
        # PostgreSQL refuses to run as root.
        user = f"--reuid={configuration.USER}", f"--regid={configuration.USER}", "--init-groups"
        words = ["setpriv", *user, self._programs.patroni, str(config)]
        self._spawn(f"patroni{node}", [*self._network.inside(node), *words])

    def kill(self, node: int, *, postgresql: bool = True, patroni: bool = True) -> None:
        """Kill a node's processes, all stopped first, so that none finishes what it has."""
        pids = []
        process = self._processes.pop(f"patroni{node}", None) if patroni else None
        if process:
            pids.append(process.pid)
        if postgresql:
            pids += self._postgresql(node)
        _signal(pids, signal.SIGSTOP)
        _signal(pids, signal.SIGKILL)
        if process:
            process.wait()

    def hold_back(self, node: int) -> None:
        """Stop replication from a node to its standbys, until its processes are killed."""
        pids = self._postgresql(node)
        _signal([pid for pid in pids if "walsender" in _command(pid)], signal.SIGSTOP)

    def switch_over(self) -> None:
        """Make a standby the leader, as for maintenance."""
        leader = self.leader()
        assert leader is not None
        standby = (self._of_role("sync_standby") or self._of_role("replica"))[0]
        body = {"leader": f"n{leader}", "candidate": standby["name"]}
        self._http.post(self._api(leader, "switchover"), json=body, timeout=30.0).raise_for_status()

    def wait_for(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        until = time.monotonic() + DEADLINE
        while not is_so():
            assert time.monotonic() < until, f"not within {DEADLINE:g} s: {what}"
            time.sleep(0.1)

    def _set_synchronous(self, *, is_so: bool) -> None:
        self.wait_until_whole()
        leader = self.leader()
        assert leader is not None
        settings = configuration.synchronous(is_so=is_so)
        self._http.patch(self._api(leader, "config"), json=settings).raise_for_status()
        self.wait_for(lambda: bool(self._of_role("sync_standby")) == is_so, "the other mode")

    def _api(self, node: int, path: str) -> str:
        return f"http://{self._network.address(node)}:{configuration.PATRONI}/{path}"

    def _members(self) -> list[dict[str, Any]]:
        for node in self._network.hosts:
            with contextlib.suppress(httpx.TransportError):
                cluster = self._http.get(self._api(node, "cluster")).json()
                return list(cluster["members"])
        return []

    def _of_role(self, role: str) -> list[dict[str, Any]]:
        return [member for member in self._members() if member["role"] == role]

    def _is_whole(self) -> bool:
        leader = self.leader()
        standbys = [it for it in self._members() if it["role"] != "leader" and it.get("lag") == 0]
        if leader is None or len(standbys) != len(self._network.hosts) - 1:
            return False
        config = self._http.get(self._api(leader, "config")).json()
        return not config["synchronous_mode"] or any(
            it["role"] == "sync_standby" for it in standbys
        )

    def _postgresql(self, node: int) -> list[int]:
        try:
            text = (self._folder / f"n{node}" / "data" / "postmaster.pid").read_text()
            first = int(text.split()[0])
            children = Path(f"/proc/{first}/task/{first}/children").read_text()
        except (OSError, IndexError):
            return []
        return [first, *map(int, children.split())]

    def _spawn(self, name: str, words: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                # Nothing is left over if the tests are killed.
                ["setpriv", "--pdeathsig", "KILL", *words],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_etcd_healthy(self) -> bool:
        try:
            return self._http.get(f"http://{HERE}:{configuration.ETCD}/health").status_code == 200
        except httpx.TransportError:
            return False

    def _start_haproxy(self) -> None:
        config = self._folder / "haproxy.cfg"
        nodes = [self._network.address(node) for node in self._network.hosts]
        config.write_text(configuration.balancer(HERE, nodes))
        self._spawn("haproxy", [self._programs.haproxy, "-db", "-f", str(config)])


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""
