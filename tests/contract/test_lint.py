"""The documents read well to a linter of the field, Spectral."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

# On one worker, so that it is installed once.
pytestmark = [pytest.mark.contract, pytest.mark.xdist_group("lint")]

HERE = Path(__file__).parent
OPENAPI = HERE.parent.parent / "openapi"
# For npm to install, and for Spectral to read a document, in seconds.
DEADLINE = 300


@pytest.fixture(scope="module")
def spectral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install Spectral as it is locked; where there is no node, CI fails and others skip."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        _missing("Node.js is missing: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("spectral")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, folder)
    # Nothing that a package brings along is run to install it.
    subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=folder, check=True, timeout=DEADLINE)
    return folder / "node_modules" / ".bin" / "spectral"


def lint(spectral: Path, document: Path) -> tuple[int, list[str]]:
    """Lint a document: the exit status, and the rules that it breaks."""
    done = subprocess.run(
        [
            *(spectral, "lint", document, "--ruleset", HERE / "spectral.yaml"),
            *("--fail-severity", "warn", "--format", "json", "--quiet"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
    )
    found = json.loads(done.stdout or "[]")
    return done.returncode, [f"{one['code']}: {one['message']}" for one in found]


@pytest.mark.parametrize("name", [file.name for file in sorted(OPENAPI.glob("*.yaml"))])
def test_document_breaks_no_rule(spectral: Path, name: str) -> None:
    """Neither an error nor a warning."""
    assert lint(spectral, OPENAPI / name) == (0, [])


def test_linter_sees_what_is_wrong(spectral: Path, tmp_path: Path) -> None:
    """Were it to see nothing, it would find nothing."""
    wrong = tmp_path / "wrong.yaml"
    text = (OPENAPI / "swagger.yaml").read_text("utf-8")
    wrong.write_text(text.replace("operationId: post_stripe_info", "operationId: a b"), "utf-8")
    status, found = lint(spectral, wrong)
    assert status == 1
    assert any(one.startswith("operation-operationId-valid-in-url") for one in found)


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
