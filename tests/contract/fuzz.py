"""Schemathesis in a process of its own, aimed at a server that runs."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
COMMAND = Path(sysconfig.get_path("scripts"), "schemathesis")
# For a run to end, in seconds; it takes a tenth of that.
DEADLINE = 300
# The values come from the environment, so that they stand in no file and no list of processes.
# In Swagger 2.0 it is a header as any other, in OpenAPI 3 a bearer token.
USER_JWT = {
    "swagger.json": """
[auth.openapi.user_jwt]
api_key = "Bearer ${COORD_USER_JWT}"
""",
    "openapi.json": """
[auth.openapi.user_jwt]
bearer = "${COORD_USER_JWT}"
""",
}
ACCESS_KEY = """
[parameters]
"query.access_key" = "${COORD_ACCESS_KEY}"
"""
# One is that hardly any request got past the checks: then the others prove nothing.
GOOD = """
[warnings]
fail-on = true
"""
# That a credential is missing or wrong is what is tried.
NOT_GOOD = """
[warnings]
enabled = false
"""


class Target(NamedTuple):
    """A deployment, and credentials of one of its users, or but one of them, or none.

    Attributes:
        url: without the base path.
        bears_refusals: whether any number of refused cards leaves the user as welcome as before.
    """

    url: str
    access_key: str
    user_jwt: str
    bears_refusals: bool


class Run(NamedTuple):
    """What came of a run."""

    passed: bool
    output: str
    folder: Path


def fuzz(
    target: Target,
    folder: Path,
    *,
    seed: int,
    cases: int,
    is_good: bool,
    document: str = "swagger.json",
) -> Run:
    """Hold a deployment against the contract that it serves.

    Args:
        folder: where the reports go: junit.xml, html/index.html, output.txt, exchanges.jsonl.
        seed: the same seed makes the same requests.
        cases: how many random requests at most.
        is_good: whether the credentials are; else no request may be taken.
        document: the one from which requests are made, `swagger.json` or `openapi.json`.
    """
    folder.mkdir(parents=True)
    base = f"{target.url.rstrip('/')}/v1/users"
    config = (HERE / "schemathesis.toml").read_text("utf-8")
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COORD_")},
        "SCHEMATHESIS_HOOKS": "contract.hooks",
        "PYTHONPATH": str(HERE.parent),
        "COORD_CONTRACT_EXCHANGES": str(folder / "exchanges.jsonl"),
        "COORD_CONTRACT_DOCUMENT": f"{base}/swagger.json",
        "COORD_CONTRACT_CREDENTIALS": "good" if is_good else "not good",
        "COORD_CONTRACT_REFUSALS": "any" if target.bears_refusals else "none",
    }
    if target.access_key:
        config += ACCESS_KEY
        environ["COORD_ACCESS_KEY"] = target.access_key
    if target.user_jwt:
        config += USER_JWT[document]
        environ["COORD_USER_JWT"] = target.user_jwt
    config += GOOD if is_good else NOT_GOOD
    (folder / "schemathesis.toml").write_text(config, "utf-8")
    command = [
        *(COMMAND, "--no-color", "--config-file", folder / "schemathesis.toml", "run"),
        *("--seed", seed, "--max-examples", cases),
        *("--report-junit-path", folder / "junit.xml"),
        *("--report-html-path", folder / "html"),
        f"{base}/{document}",
    ]
    done = subprocess.run(
        [str(word) for word in command],
        env=environ,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )
    (folder / "output.txt").write_text(done.stdout, "utf-8")
    counted = re.search(r"^Test cases:\n +(.*)$", done.stdout, re.MULTILINE)
    summary = counted[1] if counted else "it did not run"
    (folder / "summary.txt").write_text(f"{folder.name}: seed {seed}, {summary}\n", "utf-8")
    return Run(done.returncode == 0, done.stdout, folder)
