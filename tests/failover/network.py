"""A network of hosts on this machine, each in a namespace of its own, whose cable can be pulled."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

BRIDGE, NETWORK = "failover", "10.77.0"
# The address of this side: the service, etcd and HAProxy are here.
HERE = f"{NETWORK}.1"


class Network:
    """Hosts at `10.77.0.10`, `10.77.0.11` and so on, on one bridge; `with` makes and removes it.

    Args:
        hosts: how many.
    """

    def __init__(self, hosts: int) -> None:
        self.hosts = range(hosts)

    def __enter__(self) -> "Network":
        # A run that was killed leaves them behind.
        self._remove()
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{HERE}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for host in self.hosts:
            name, cable = _name(host), _cable(host)
            _ip("netns", "add", name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", cable, "master", BRIDGE, "up")
            _ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def address(self, host: int) -> str:
        """Return the address of a host."""
        return f"{NETWORK}.{10 + host}"

    def inside(self, host: int) -> list[str]:
        """Return the words that run a program on a host."""
        return ["ip", "netns", "exec", _name(host)]

    @contextlib.contextmanager
    def cut_off(self, host: int) -> Iterator[None]:
        """Pull the cable of a host inside the block: nothing is refused, nothing arrives."""
        _ip("link", "set", _cable(host), "down")
        try:
            yield
        finally:
            _ip("link", "set", _cable(host), "up")

    def _remove(self) -> None:
        for host in self.hosts:
            # The processes of a namespace outlive its name.
            for pid in _ip("netns", "pids", _name(host), check=False).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "del", _name(host), check=False)
            _ip("link", "del", _cable(host), check=False)
        _ip("link", "del", BRIDGE, check=False)


def _name(host: int) -> str:
    return f"failover-{host}"


def _cable(host: int) -> str:
    return f"failover{host}"


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert not check or done.returncode == 0, (words, done.stderr)
    return done.stdout
