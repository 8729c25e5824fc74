"""The figures of one failover: the gap, and the user who waited longest."""

from dataclasses import dataclass
from itertools import pairwise

from failover.load import Load


@dataclass(frozen=True)
class Figures:
    """Times are in seconds from the event on.

    Attributes:
        event: what happened.
        gap: the longest time without a saved card.
        last_user: how long after the end of that gap the last card was saved that was sent before.
        saved: how many cards were saved in all.
        statuses: how many requests were answered each status.
        responses: when each request was answered, and its status.
    """

    event: str
    gap: float
    last_user: float
    saved: int
    statuses: dict[str, int]
    responses: list[tuple[float, int]]

    def line(self) -> str:
        """Return them in one line, for people."""
        return (
            f"{self.event}: gap {self.gap:.1f} s, last user {self.last_user:.1f} s later, "
            f"{self.saved} saved, {self.statuses}"
        )


def figures_of(event: str, load: Load, struck: float) -> Figures:
    """Return the figures of an event.

    Args:
        event: what happened.
        load: which has ended.
        struck: when it happened, by `time.monotonic`.
    """
    saves = sorted(card.saved for card in load.cards)
    start, end = max(pairwise(saves), key=lambda pair: pair[1] - pair[0])
    last = max(card.saved for card in load.cards if card.sent < end)
    return Figures(
        event,
        gap=round(end - start, 2),
        last_user=round(last - end, 2),
        saved=len(saves),
        statuses=load.statuses(),
        responses=sorted((round(it.at - struck, 2), it.status) for it in load.responses),
    )
