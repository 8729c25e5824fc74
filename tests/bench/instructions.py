"""The instructions that a server executes for one save, counted by valgrind's callgrind.

Exact where times are not: repeats agree within 1 %, however busy the machine is. What the kernel
does is not counted. Run as `python -m bench.instructions [--bound] [SERVER ...]`.
"""

import argparse
import contextlib
import functools
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.arena import LABELS, OURS, Arena, Running, WrongAnswer
from bench.callers import Callers
from bench.load import Load, Run

HERE = Path(__file__).parent
# What starts a server for callgrind: ours without its clockwork, gunicorn without a fork.
STARTS = {OURS: "still.py", "flask_threads": "unforked.py"}
# Saves before any is counted: the interpreter specialises its bytecode, and caches fill.
WARM, WARM_INSTRUMENTED = 60, 20
# Saves of one sample, and samples. The median leaves out a sample that the machine disturbed.
SAVES, SAMPLES = 10, 5
CALLERS = WARM + WARM_INSTRUMENTED + SAVES * SAMPLES
# After a response, the server still logs the request, and its threads go to sleep; in seconds.
REST = 0.1
# How long callgrind may take to write a sample, in seconds.
DUMP_SECONDS = 60.0
# The last published figure, in millions, and how far above it `tox run -e instructions` fails.
PUBLISHED, TOLERANCE = 3.03, 1.05
# The figure is of this Python: others execute other bytecode.
PUBLISHED_ON = (3, 11)


def main() -> None:
    """Print a line for each server, and hold ours to the bound if asked to."""
    parser = argparse.ArgumentParser(prog="bench.instructions", description=__doc__)
    parser.add_argument("servers", nargs="*", choices=[[], *LABELS], metavar="SERVER")
    parser.add_argument("--bound", action="store_true", help="fail where ours needs too many")
    parser.add_argument("--keep", type=Path, help="keep callgrind's files in this folder")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        print("skipped: valgrind is not installed (`apt-get install valgrind`)")
        return
    with tempfile.TemporaryDirectory(prefix="coord-instructions-") as name:
        arena = Arena(Path(name), Callers(Path(name), CALLERS), "")
        for server in options.servers or [OURS]:
            millions = counted(arena, server, options.keep) / 1e6
            print(f"{LABELS[server]}: {millions:.3f} million instructions a save", flush=True)
            if options.bound and server == OURS:
                _require_bound(millions)


def _require_bound(millions: float) -> None:
    if sys.version_info[:2] != PUBLISHED_ON:
        print("not held to the bound: the published figure is of another Python")
    elif millions > PUBLISHED * TOLERANCE:
        sys.exit(f"more than {TOLERANCE} times the published {PUBLISHED} million")


def counted(arena: Arena, name: str, keep: Path | None = None) -> float:
    """Count the instructions of one save, the median of several samples.

    Args:
        arena: where the server runs.
        name: of the server.
        keep: takes callgrind's files.

    Raises:
        WrongAnswer: a response was not the right one.
    """
    out = Path(keep or arena.folder).absolute() / f"callgrind.{name}"
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}")
    start = (sys.executable, str(HERE / STARTS[name])) if name in STARTS else ()
    # Hashes of texts decide how often look-ups collide.
    with arena.serving(name, under=valgrind, start=start, PYTHONHASHSEED="0") as server:
        save = functools.partial(next, saves(server, arena.callers, CALLERS))
        pid = str(server.process.pid)
        control = functools.partial(_control, pid)
        _repeat(save, WARM)
        control("--instr=on")
        _repeat(save, WARM_INSTRUMENTED)
        control("--zero")
        counts = []
        for sample in samples(arena, name, keep):
            _repeat(save, SAVES)
            control("--dump")
            counts.append(_total(sample) / SAVES)
    return statistics.median(counts)


def samples(arena: Arena, name: str, keep: Path | None = None) -> list[Path]:
    """Return callgrind's files of the samples; see `counted`."""
    folder = Path(keep or arena.folder).absolute()
    return [folder / f"callgrind.{name}.{number}" for number in range(1, SAMPLES + 1)]


def _repeat(save: functools.partial[None], times: int) -> None:
    for _ in range(times):
        save()
    time.sleep(REST)


def saves(server: Running, callers: Callers, number: int) -> Iterator[None]:
    """Save a card of the next user at each step, over one connection."""
    run = Run(Load(server.port, str(callers.file)))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.connect()
        for user in range(number):
            connection.sock.sendall(run.request(user))
            response = http.client.HTTPResponse(connection.sock)
            response.begin()
            body = response.read()
            expected = {"coord_targeted_token": f"tok_{user}", "customer_id": f"cus_{user}"}
            if response.status != 200 or json.loads(body) != expected:
                raise WrongAnswer(f"{server.name}: {response.status} {body!r}")
            yield


def _control(pid: str, command: str) -> None:
    subprocess.run(
        ["callgrind_control", command, pid],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=DUMP_SECONDS,
    )


def _total(file: Path) -> int:
    """Read a sample; `summary`, as `totals` includes what was before the counters were zeroed."""
    until = time.monotonic() + DUMP_SECONDS
    while time.monotonic() < until:
        if file.exists():
            for line in file.read_text().splitlines():
                if line.startswith("summary:"):
                    return int(line.split()[1])
        time.sleep(0.05)
    raise TimeoutError(f"callgrind did not write {file}")


if __name__ == "__main__":
    main()
