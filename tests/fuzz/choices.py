"""Decisions, read from bytes that Hypothesis draws, mutates and shrinks.

To draw each decision by a strategy of its own costs milliseconds; so a hundred thousand inputs
take minutes instead of an hour, and a failure still shrinks: zeros mean that nothing is changed.
"""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

Item = TypeVar("Item")


class Choices:
    """Bytes, taken one after the other; zeros once they are used up.

    Args:
        drawn: the bytes.
    """

    def __init__(self, drawn: bytes) -> None:
        self._drawn = drawn
        self._at = 0

    def number(self, below: int) -> int:
        """Return a number from 0."""
        size = 1 if below <= 256 else 2
        piece = self._drawn[self._at : self._at + size]
        self._at += size
        return int.from_bytes(piece, "big") % below

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of several; the first is the ordinary one."""
        return items[self.number(len(items))]

    def happens(self, one_in: int) -> bool:
        """Return whether something happens that does not happen as a rule."""
        return self.number(256) > 255 - 256 // one_in

    def text(self, fragments: Sequence[str], most: int) -> str:
        """Return a few fragments, one behind the other."""
        return "".join(self.pick(fragments) for _ in range(self.number(most + 1)))


choices = st.binary(min_size=48, max_size=48).map(Choices)
