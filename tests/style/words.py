"""Finds words that a reader of technical English stumbles over; part of `tox -e lint`.

Docstrings begin with a verb of the field. Neither the prose of `app/` and `tests/` nor a README
speaks of people where a caller, a request, a process or an operator is meant.
"""

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST_WORDS = re.compile(r"(?:Tell|Give|Say|Ask|Bear|Mend|Heed)\b")
WORDS = re.compile(
    r"\b(?:whoever|nobody|somebody|those who|borne|heed(?:s|ed)?|mend(?:s|ed)?)\b", re.I
)
READMES = (
    "README.md",
    "openapi/README.md",
    "app/README.md",
    "deploy/README.md",
    "tests/README.md",
    "tests/bench/README.md",
    "SECURITY.md",
)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings of a module, each with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a module, each with its line; not its data."""
    yield from docstrings(path)
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def faults() -> Iterator[str]:
    """Yield each fault as `file:line: what`."""
    app, tests = (sorted((ROOT / name).rglob("*.py")) for name in ("app", "tests"))
    for path in [*app, *tests]:
        for line, text in docstrings(path):
            if found := FIRST_WORDS.match(text):
                yield f"{path.relative_to(ROOT)}:{line}: a docstring begins with {found[0]}"
    for path in tests:
        for line, text in prose(path):
            if found := WORDS.search(text):
                yield f"{path.relative_to(ROOT)}:{line}: {found[0]}"
    for path in [*app, *(ROOT / name for name in READMES if (ROOT / name).exists())]:
        for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
            if found := WORDS.search(text):
                yield f"{path.relative_to(ROOT)}:{number}: {found[0]}"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found))
    sys.exit(bool(found))
