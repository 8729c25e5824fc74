"""The audit of dependencies reports a package as checked only if it was."""

import json
import re
from pathlib import Path

import pytest
from supply.audit import LOCKS, verdict

ROOT = Path(__file__).parent.parent
SOUND = {"name": "flask", "version": "3.1.3", "vulns": []}
SICK = {
    "name": "old",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}],
}
SKIPPED = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("dependencies", "status", "required", "words"),
    [
        ([SOUND], 0, 0, "1 packages audited"),
        ([SOUND, SICK], 1, 1, "VULNERABLE: old 1.0: PYSEC-1, fixed in 1.1"),
        ([SKIPPED, SICK], 1, 1, "VULNERABLE: old 1.0: PYSEC-1, fixed in 1.1"),
        ([SOUND, SKIPPED], 0, 1, "NOT AUDITED: 1 of 2: unknown"),
        ([SKIPPED], 0, 1, "NOT AUDITED: 1 of 1: unknown"),
        ([], 0, 1, "NOT AUDITED: 0 of 0: nothing"),
    ],
)
def test_audit_verdict(dependencies: list[object], status: int, required: int, words: str) -> None:
    """A vulnerability always fails; an unchecked package fails where an audit is required."""
    report = json.dumps({"dependencies": dependencies, "fixes": []})
    assert words in verdict(report, required=False)[1]
    assert verdict(report, required=False)[0] == status
    assert verdict(report, required=True)[0] == required


@pytest.mark.parametrize("report", ["", "[]", "{}", "ERROR: no way to the index"])
def test_audit_that_did_not_run_says_so(report: str) -> None:
    assert verdict(report, required=False) == (0, ["NOT AUDITED: pip-audit could not run"])
    assert verdict(report, required=True)[0] == 1


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_hashes(lock: str) -> None:
    """Nothing else can be installed under its name and version."""
    pins = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text())
    for pin in pins:
        assert re.match(r"[A-Za-z0-9._-]+==\S+( ; .*)? \\\n", pin), pin[:80]
        assert "--hash=sha256:" in pin, pin[:80]


def test_locks_that_are_installed_together_agree() -> None:
    """The licences that are checked are those of the tests' packages and of the image's."""
    found: dict[str, set[str]] = {}
    for lock in (
        "deploy/requirements.txt",
        "tests/requirements.txt",
        "tests/supply/requirements.txt",
    ):
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.M):
            found.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in found.items() if len(versions) > 1} == {}
