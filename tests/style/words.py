"""Finds words that a reader of technical English stumbles over; part of `tox -e lint`.

Docstrings in `app/` begin with a verb of the field. Neither `app/` nor a README of the project
speaks of people where a caller, a request, a process or an operator is meant.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST_WORDS = re.compile(r"(?:Tell|Give|Say|Ask|Bear|Mend|Heed)\b")
WORDS = re.compile(
    r"\b(?:whoever|nobody|somebody|those who|borne|heed(?:s|ed)?|mend(?:s|ed)?)\b", re.I
)
READMES = ("README.md", "openapi/README.md", "app/README.md", "deploy/README.md", "SECURITY.md")


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a module, each with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def faults() -> Iterator[str]:
    """Yield each fault as `file:line: what`."""
    sources = sorted((ROOT / "app").rglob("*.py"))
    for path in sources:
        for line, text in docstrings(path):
            if found := FIRST_WORDS.match(text):
                yield f"{path.relative_to(ROOT)}:{line}: a docstring begins with {found[0]}"
    for path in [*sources, *(ROOT / name for name in READMES if (ROOT / name).exists())]:
        for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
            if found := WORDS.search(text):
                yield f"{path.relative_to(ROOT)}:{number}: {found[0]}"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found))
    sys.exit(bool(found))
