"""Processes on a core of their own: started, measured by /proc, and ended by their id."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# Under valgrind, on a busy machine, a start takes that long.
START_SECONDS = 600.0
END_SECONDS = 40.0
TICKS = os.sysconf("SC_CLK_TCK")
# One core for the server and one for the load; on a machine with one core they share it.
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = {CORES[0]}, {CORES[-1]}


class Process(contextlib.AbstractContextManager["Process"]):
    """One process and its children.

    Args:
        command: what to run.
        cores: where it may run.
        environ: what it finds in its environment besides what every process needs.
        log: takes its output; None to read the output from `output`.
    """

    def __init__(
        self,
        command: Sequence[str],
        cores: set[int],
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self._log = log
        self.began = time.perf_counter()
        with log.open("wb") if log else contextlib.nullcontext(subprocess.PIPE) as output:
            self._popen = subprocess.Popen(
                command,
                env={**_inherited(), **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output if log else None,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        self.output = self._popen.stdout
        self.pid = self._popen.pid

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send SIGTERM, wait for the exit, and kill what is left."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            # Its session is its own, so the group is what it started and nothing else.
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait(END_SECONDS)
        if self.output:
            self.output.close()

    def wait_for(self, port: int, path: str = "/") -> float:
        """Wait until it answers, with 200 where a path is asked for.

        Returns:
            Seconds since the start.

        Raises:
            RuntimeError: it ended, or took too long; with the last it said.
        """
        while time.perf_counter() - self.began < START_SECONDS and self._popen.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", path)
                status = connection.getresponse().status
                connection.close()
                if path == "/" or status == 200:
                    return time.perf_counter() - self.began
            time.sleep(0.01)
        said = self._log.read_text()[-2000:] if self._log else ""
        raise RuntimeError(f"{self._popen.args!r} did not start:\n{said}")

    def port(self) -> int:
        """Read the port that it prints once it listens."""
        assert self.output is not None
        return int(self.output.readline())

    def finished(self, seconds: float) -> str:
        """Wait for its end and give its output.

        Raises:
            RuntimeError: it failed, or took too long.
        """
        try:
            output, _ = self._popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{self._popen.args!r} took too long") from None
        if self._popen.returncode:
            raise RuntimeError(f"{self._popen.args!r} failed: {output!r}")
        return str(output.decode())

    def cpu_seconds(self) -> float:
        """Return the processor time, user and system, that it and its children took so far."""
        return sum(_cpu_seconds(pid) for pid in self._tree())

    def peak_megabytes(self) -> float:
        """Return the most resident memory that any one of its processes ever had."""
        return max(_peak_megabytes(pid) for pid in self._tree())

    def _tree(self) -> list[int]:
        """Return the ids of the process and of all that descend from it."""
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (stat := _stat(int(folder.name))):
                children.setdefault(int(stat[1]), []).append(int(folder.name))
        tree = [self._popen.pid]
        for pid in tree:
            tree += children.get(pid, [])
        return tree


def free_port() -> int:
    """Return a port on which no program listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def tool(name: str) -> str:
    """Return the path of a command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def _inherited() -> dict[str, str]:
    """Leave out proxies, which must not come between, and what keeps bytecode from being kept."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and name != "PYTHONDONTWRITEBYTECODE"
    }


def _stat(pid: int) -> list[str]:
    """Return a process's state and what follows it (proc(5)); nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / TICKS if stat else 0.0


def _peak_megabytes(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
