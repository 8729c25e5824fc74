"""README.md, "Run it": its line, pasted in a fresh clone, installs a service that answers."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from support.sandbox_process import Printed

ROOT = Path(__file__).parents[1]


def fresh_clone(folder: Path) -> Path:
    """Return a copy of what git would clone, and of what is not committed yet."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_line_that_runs_it(tmp_path: Path) -> None:
    """What is installed has both contracts, the migrations, and all that the pages need.

    Both `curl` lines that the sandbox prints are sent as they are.
    """
    [line] = re.findall(r"<!-- run -->\n```\n(.*)\n```", (ROOT / "README.md").read_text())
    # `python3` is the Python that runs this test. Another program may have the default port.
    process = subprocess.Popen(
        ["bash", "-c", f"{line} --port 0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=fresh_clone(tmp_path / "clone"),
        env={**os.environ, "PATH": f"{sys.base_prefix}/bin:{os.environ['PATH']}"},
        start_new_session=True,
    )
    try:
        printed = Printed(process)
        saved = json.loads(printed.curl().stdout)
        user = json.loads(printed.curl("/user/current").stdout)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=20)
    assert saved["customer_id"].startswith("cus_")
    assert user["stripe_info"]["stripe_customer_id"] == saved["customer_id"]
