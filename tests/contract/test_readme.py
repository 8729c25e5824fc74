"""The lines of openapi/README.md that evoke each error, run as written.

Only the ports and the folder of the command are replaced.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.needs import need
from support.sandbox_process import COMMAND, Printed, sandbox_of_its_own
from support.server_process import reserved_port

from app.contract.document import Contract

README = (Path(__file__).parents[2] / "openapi/README.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)` \| `(.+)` \|$", README, re.MULTILINE))
# These keep the user from saving cards for a while, so each has a sandbox to itself.
LAST = ("update_in_progress", "too_many_attempts")


def block(name: str) -> str:
    """Return the code that follows a mark."""
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1].replace(".venv/bin/coord-users", str(COMMAND))


class Shell:
    """The reader's second terminal, beside the sandbox."""

    def __init__(self, sandbox: Printed) -> None:
        self._known = {
            "ACCESS_KEY": sandbox.value("Access key"),
            "USER_JWT": sandbox.value("User JWT"),
            "TEST_JWT": sandbox.value("Test JWT"),
            "EXPIRED_JWT": sandbox.value("Expired JWT"),
            "FRESH_TOKEN": sandbox.value("Fresh token"),
            "STANDIN": sandbox.value("Stand-in"),
            "DATABASE": sandbox.value("Database"),
        }
        self._port = sandbox.value("Explorer").split(":")[2].split("/")[0]
        self._other_port = reserved_port()

    def run(self, text: str) -> str:
        """Run lines, and return what they print."""
        text = text.replace("8080", self._port).replace("8081", self._other_port)
        done = subprocess.run(
            ["bash", "-euc", text],
            env={"PATH": os.environ["PATH"], **self._known},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def code(self, row: str, before: str = "") -> str:
        """Run a row of the table, and return the code in the last response."""
        last = self.run(f"{block('save')}{before}\n{ROWS[row]}").strip().splitlines()[-1]
        return str(json.loads(last)["code"])


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A terminal beside a sandbox."""
    need("curl", "apt-get install curl")
    with sandbox_of_its_own(tmp_path) as printed:
        yield Shell(printed)


IMPATIENT = (
    block("impatient")
    + """server=$!
trap 'kill $server' EXIT
for _ in $(seq 200); do curl -sf http://127.0.0.1:8081/readyz > /dev/null && break; sleep 0.1; done
"""
)


def test_each_error_is_shown(shell: Shell) -> None:
    """The line in the table evokes the code in the table."""
    needs = {"partner_mismatch": block("other"), "overloaded": IMPATIENT}
    rows = [row for row in ROWS if row not in LAST]
    assert {row: shell.code(row, needs.get(row, "")) for row in rows} == {row: row for row in rows}


def test_update_in_progress_is_shown(shell: Shell) -> None:
    """409, from a server that waits for less time than the other needs to save the card."""
    assert shell.code("update_in_progress", IMPATIENT) == "update_in_progress"


def test_too_many_attempts_are_shown(shell: Shell) -> None:
    """429, after ten refused cards."""
    assert shell.code("too_many_attempts") == "too_many_attempts"


def test_each_code_of_the_contract_is_shown() -> None:
    """All but two that stand for unlisted codes, and one that is no longer answered."""
    shown = {*ROWS, "card_refused", "token_refused", "token_in_use"}
    assert set(Contract.shipped("swagger.yaml").problems) - shown == set()
