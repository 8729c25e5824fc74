"""The contract that clients were last given, kept as released.yaml beside this file.

It is the document as it is served, without descriptions. A developer who changes what clients rely
on renews it by `tox run -e renew-contract`, which refuses to where that breaks clients and the
major version is the old one. A test compares it with the contract, and another follows it through
the history, so that it cannot be renewed by hand either.
"""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from contract.breaking_changes import Break, Schema, breaks, is_major

from app.contract.document import Contract

FILE = Path(__file__).with_name("released.yaml")
# Words, and where a deployment happens to be.
SPOKEN = frozenset(
    {
        "title",
        "description",
        "summary",
        "example",
        "examples",
        "x-example",
        "meaning",
        "remedy",
        "host",
    }
)
HEAD = "# Made by `tox run -e renew-contract`: what clients rely on. See release.py.\n"


def relied_on(document: Schema) -> Schema:
    """Return what clients rely on."""
    made = {
        name: value
        for name, value in document.items()
        if not name.startswith("x-") and name not in ("schemes", "tags")
    }
    made["x-problems"] = document.get("x-problems", {})
    relied: Schema = _without_words(made)
    return relied


def current() -> Schema:
    """Return what clients of the contract in this version rely on."""
    return relied_on(Contract.shipped("swagger.yaml").served("", ""))


def released() -> Schema:
    """Read what was last released."""
    document: Schema = yaml.safe_load(FILE.read_text("utf-8"))
    return document


def forbidden(old: Schema, new: Schema) -> Iterator[Break]:
    """Yield what breaks clients without a new major version."""
    if not is_major(old, new):
        yield from breaks(old, new)


def history(folder: Path) -> list[Schema]:
    """Read each version of the file that git knows, the oldest first.

    Where there is no git, as in an archive of the sources, there is none; a shallow clone has what
    it has.
    """
    log = _git(folder, "log", "--reverse", "--format=%H", "--", FILE.name)
    texts = [_git(folder, "show", f"{commit}:./{FILE.name}") for commit in log.split()]
    return [yaml.safe_load(text) for text in texts if text]


def broken_on_the_way(versions: list[Schema]) -> list[str]:
    """Return what any renewal broke without a new major version."""
    return [str(one) for old, new in itertools.pairwise(versions) for one in forbidden(old, new)]


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def main() -> int:
    """Renew the file, unless that breaks clients."""
    new = current()
    if FILE.exists():
        found = list(forbidden(released(), new))
        for one in found:
            print(one, file=sys.stderr)
        if found:
            print("Take it back, or raise the major version in `info`.", file=sys.stderr)
            return 1
    FILE.write_text(HEAD + yaml.safe_dump(new, sort_keys=False, width=100), "utf-8")
    return 0


def _without_words(node: Any, *, names: bool = False) -> Any:
    """Leave out words; in an object whose keys are names, `title` is a name like any other."""
    if isinstance(node, list):
        return [_without_words(one) for one in node]
    if not isinstance(node, dict):
        return node
    holders = ("properties", "definitions", "headers", "x-problems", "responses", "paths")
    return {
        key: _without_words(value, names=key in holders and not names)
        for key, value in node.items()
        if names or key not in SPOKEN
    }


if __name__ == "__main__":
    sys.exit(main())
