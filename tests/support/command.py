"""The command `coord-users`, as an operator runs it."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).with_name("coord-users")


def run(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with just these variables set."""
    kept = {name: os.environ[name] for name in os.environ if "COVERAGE" in name or name == "PATH"}
    return subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, timeout=120, env={**kept, **environ}
    )
