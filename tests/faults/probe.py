"""Measures how long a service takes to answer `GET /healthz`, in a process of its own.

Arguments: the URL, and the service's process id. Asks every 20 ms until stdin ends, then writes
one object of JSON: how often it asked, and in seconds the longest times: `worst`, and `worst_own`
where the service shares its cores with others.

On a busy machine a process that could run has to wait for a core, and Linux tells for how long
(https://docs.kernel.org/scheduler/sched-stats.html). What the probe waited is taken off both times;
what the thread of the service's event loop waited is taken off `worst_own` too. Waiting for a lock,
for Python's or for the loop, is not among it, and counts.
"""

import gc
import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

PAUSE = 0.02


def held_up(pid: int) -> float:
    """Return how long the first thread of a process has waited for a core, in seconds."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


def ask(sock: socket.socket) -> None:
    """Send one request on a connection that is kept."""
    sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n")
    answer = b""
    while not answer.endswith(b"alive"):
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise ValueError(answer)


def main(url: str, pid: int) -> None:
    address = urlsplit(url)
    gc.disable()
    number, worst, worst_own = 0, 0.0, 0.0
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 60) as sock:
        ask(sock)
        while not select.select([sys.stdin], [], [], PAUSE)[0]:
            here, there = held_up(os.getpid()), held_up(pid)
            began = time.perf_counter()
            ask(sock)
            took = time.perf_counter() - began - (held_up(os.getpid()) - here)
            number, worst = number + 1, max(worst, took)
            worst_own = max(worst_own, took - (held_up(pid) - there))
    print(json.dumps({"number": number, "worst": worst, "worst_own": worst_own}))


main(sys.argv[1], int(sys.argv[2]))
