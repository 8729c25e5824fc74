"""The lines for callers in README.md and openapi/README.md, run as written on the sandbox."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from clients.calls import Call
from clients.node_clients import run

ROOT = Path(__file__).parents[2]
TEXT = "".join((ROOT / name).read_text() for name in ("README.md", "openapi/README.md"))
LIVE = "https://api.coord.co"

pytestmark = [
    # Bravado uses what jsonschema has newer ways for.
    pytest.mark.filterwarnings("ignore:jsonschema.RefResolver.in_scope is deprecated"),
    pytest.mark.filterwarnings("ignore:Accessing .*resolver is deprecated"),
]


def block(language: str, word: str, document: str) -> str:
    """Return the block of code that holds the word, with the sandbox's address."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    [found] = (one for one in blocks if word in one and LIVE in one)
    return str(found).replace(LIVE, document.removesuffix("/v1/users/swagger.json"))


@pytest.mark.parametrize("library", ["requests", "SwaggerClient"])
def test_lines_in_python(library: str, document: str, good: Call) -> None:
    """They end with the customer's id."""
    lines = block("python", library, document).replace("tok_123", good.token)
    names = {"access_key": good.access_key, "user_jwt": good.user_jwt}
    exec(lines, names)
    assert names["customer_id"].startswith("cus_")


def test_lines_in_javascript(document: str, good: Call, tmp_path: Path) -> None:
    """They end with the customer's id."""
    lines = block("js", "fetch", document).replace("tok_123", good.token)
    program = tmp_path / "lines.mjs"
    program.write_text(
        f"const [accessKey, userJwt] = process.argv.slice(2);\n{lines}\nconsole.log(customerId);\n"
    )
    assert run("node", str(program), good.access_key, good.user_jwt).startswith("cus_")


def test_lines_for_curl(document: str, good: Call) -> None:
    """The response has the members that the README shows below them."""
    lines = block("sh", "curl", document).replace("tok_123", good.token)
    environ = {**os.environ, "ACCESS_KEY": good.access_key, "USER_JWT": good.user_jwt}
    done = subprocess.run(
        ["bash", "-c", lines], env=environ, check=True, capture_output=True, timeout=30
    )
    assert set(json.loads(done.stdout)) == {"coord_targeted_token", "customer_id"}


def test_line_that_generates_a_client(document: str, tmp_path: Path) -> None:
    """It makes one class with the operation."""
    [line] = (one for one in block("sh", "generate", document).splitlines() if "generate -g" in one)
    command, *words = shlex.split(line)
    program = Path(sys.executable).with_name(command)
    subprocess.run([program, *words], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    written = tmp_path / "client" / "openapi_client" / "api"
    assert sorted(one.name for one in written.iterdir()) == ["__init__.py", "users_api.py"]
