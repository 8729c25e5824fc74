"""Checks all pinned packages for known vulnerabilities, and reports which were not checked.

pip-audit alone succeeds if the index knows nothing of a package or cannot be reached. Here this is
reported, and fails if `AUDIT_REQUIRED` is set; a vulnerability always fails.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# What the machine of an operator, or of a test, installs.
LOCKS = ("deploy/requirements.txt", *map(str, sorted(Path("tests").rglob("requirements.txt"))))


def verdict(report: str, *, required: bool) -> tuple[int, list[str]]:
    """Return the result of an audit.

    Args:
        report: pip-audit's, in JSON; anything else where it could not run.
        required: whether what was not looked at is a failure.

    Returns:
        The status to exit with, and the lines to print.
    """
    try:
        dependencies: list[dict[str, Any]] = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return int(required), ["NOT AUDITED: pip-audit could not run"]
    lines = [
        f"VULNERABLE: {one['name']} {one['version']}: {found['id']}, "
        f"fixed in {', '.join(found['fix_versions']) or 'no version'}"
        for one in dependencies
        for found in one.get("vulns", ())
    ]
    is_vulnerable = bool(lines)
    skipped = [one["name"] for one in dependencies if "vulns" not in one]
    audited = len(dependencies) - len(skipped)
    if skipped or not audited:
        names = ", ".join(skipped) or "nothing"
        lines.append(f"NOT AUDITED: {len(skipped)} of {len(dependencies)}: {names}")
    lines.append(f"{audited} packages audited")
    return int(is_vulnerable or (required and bool(skipped or not audited))), lines


def main() -> int:
    """Audit the locks."""
    command = ["pip-audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    locks = [word for lock in LOCKS for word in ("-r", lock)]
    run = subprocess.run([*command, "--format", "json", *locks], stdout=subprocess.PIPE, text=True)
    status, lines = verdict(run.stdout, required=bool(os.environ.get("AUDIT_REQUIRED")))
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
