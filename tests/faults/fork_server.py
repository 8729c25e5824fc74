"""Forks `coord-users serve` from a process that has imported everything, so that it starts fast.

Reads a line of JSON from stdin for each server to start, `{"port": ..., "log": ...}`, and writes
its process id; then waits for its exit and writes the status, 0 or minus the signal. With
`"crash": {"CRASH_AT": ..., "CRASH_SKIP": ...}` in the line, the server runs as `crash_at.py`.
"""

import json
import os
import runpy
import sys
from pathlib import Path

from app.cli import main

for line in sys.stdin:
    wanted = json.loads(line)
    child = os.fork()
    if not child:
        with Path(wanted["log"]).open("wb") as log:
            os.dup2(log.fileno(), 2)
        sys.argv = ["coord-users", "serve", "--port", str(wanted["port"])]
        if crash := wanted.get("crash"):
            os.environ.update(crash)
            runpy.run_path(str(Path(__file__).with_name("crash_at.py")))
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
