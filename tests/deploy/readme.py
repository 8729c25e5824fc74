"""The marked blocks of deploy/README.md."""

import re
from typing import NamedTuple

from deploy.debian import ROOT

README = ROOT / "deploy/README.md"
BLOCK = re.compile(
    r"<!-- (?P<mark>\w+) -->\n```sh\n(?P<lines>.*?)```\n"
    r"(?:\n<!-- output -->\n```\n(?P<output>.*?)```\n)?",
    re.DOTALL,
)


class Block(NamedTuple):
    """Lines to run, and what they print; `...` stands for anything."""

    lines: str
    output: str | None

    def check(self, printed: str) -> None:
        """Compare what was printed with the text."""
        if self.output is not None:
            pattern = re.escape(self.output.strip()).replace(r"\.\.\.", ".*")
            assert re.fullmatch(pattern, printed.strip(), re.DOTALL), (self.output, printed)


def blocks(mark: str) -> list[Block]:
    """Return the blocks with a mark, in their order."""
    found = BLOCK.finditer(README.read_text())
    return [Block(one["lines"], one["output"]) for one in found if one["mark"] == mark]
