"""app/README.md, "Add an operation": a path and a function, and the sandbox serves it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
from support.sandbox_process import Printed

ROOT = Path(__file__).parents[1]
README = (ROOT / "app/README.md").read_text()
RUN = "from app.cli import main; main()"


def block(mark: str) -> str:
    """Return the code that follows a mark."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, mark
    return found[1]


def test_path_and_function_are_enough(tmp_path: Path) -> None:
    """The sandbox then serves the operation."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=ignored)
    shutil.copytree(ROOT / "openapi", tmp_path / "app/openapi", ignore=ignored)
    contract = tmp_path / "app/openapi/swagger.yaml"
    contract.write_text(contract.read_text().replace("\npaths:\n", f"\npaths:\n{block('path')}"))
    with (tmp_path / "app/handlers.py").open("a") as handlers:
        handlers.write(f"\n\n{block('function')}")
    # Another copy of the package than the one whose coverage is measured.
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    environ.pop("PYTHONSAFEPATH", None)
    environ.pop("DATABASE_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=environ,
    )
    try:
        printed = Printed(process)
        url = printed.value("Explorer").removesuffix("/ui/") + "/user/current/greeting"
        key, jwt = printed.value("Access key"), printed.value("User JWT")
        headers = {"Authorization": f"Bearer {jwt}"}
        answer = httpx.get(url, params={"access_key": key}, headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        assert answer.json() == json.loads(block("response"))
        assert httpx.get(url, headers=headers, trust_env=False).status_code == 401
    finally:
        process.terminate()
        process.communicate(timeout=60)
