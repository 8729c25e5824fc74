"""A sandbox in a process of its own, and what it printed."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.needs import need

COMMAND = Path(sys.executable).with_name("coord-users")


class Printed:
    """A sandbox that runs, and what it printed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self.lines: list[str] = []
        # The second curl line is the last thing printed; the pipe ends if the process does.
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if len(self.lines) > 1 and "/user/current?" in self.lines[-2]:
                break
        self.text = "\n".join(self.lines)

    def value(self, name: str) -> str:
        """Return what stands behind a name."""
        found = re.search(rf"^{name} +(\S+)", self.text, re.MULTILINE)
        assert found, self.text
        return found[1]

    def curl(self, path: str = "/user/current/stripe_info") -> "subprocess.CompletedProcess[str]":
        """Run the printed line for a path as it stands."""
        need("curl", "apt-get install curl")
        [line] = re.findall(rf"^curl .*{path}\?.*\\\n(?:.*\\\n)*.*", self.text, re.MULTILINE)
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)


@contextlib.contextmanager
def sandbox_of_its_own(folder: Path, *options: str) -> Iterator[Printed]:
    """Yield a sandbox, started as the README says but for the port.

    Args:
        folder: where it is started.
        options: further ones.
    """
    process = subprocess.Popen(
        [COMMAND, "sandbox", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
    )
    try:
        yield Printed(process)
    finally:
        process.terminate()
        process.communicate(timeout=60)
