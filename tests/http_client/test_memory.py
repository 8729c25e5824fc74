"""What a connection keeps in memory: a thousand requests may wait for Stripe at once."""

import subprocess
import sys

from http_client.conftest import Serve
from support.raw_server import OK, saying

# In a process of its own, whose memory nothing else has used and freed before.
MEASURE = """
import sys
from pathlib import Path

from app.http_client.handle import Handle


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4


def used():
    handle = Handle({}, 1000)
    handle.exchange("POST", sys.argv[1], {}, "a=b", 10)
    return handle


used()
before = resident()
handles = [used() for _ in range(100)]
print((resident() - before) / len(handles))
"""
# 32 were measured. With the size of the buffer for sending that libcurl has by default, 57 were.
MOST_KILOBYTES = 45.0


def test_connection_keeps_little_memory(serve: Serve) -> None:
    server = serve(saying(OK))
    command = [sys.executable, "-c", MEASURE, server.url]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert float(printed) < MOST_KILOBYTES
