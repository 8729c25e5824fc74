"""The benchmark's arithmetic: what decides whether a target is met."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up measurements, of which there is at least one."""
        return cls(min(values), statistics.median(values), max(values))

    def formatted(self, form: str = ".0f", unit: str = "") -> str:
        """Return the median and, in brackets, the extremes, with the unit once."""
        least, median, most = (format(it, form) for it in (self.least, self.median, self.most))
        return f"{median}{unit} [{least} to {most}]"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the least value that `percent` of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    rank = -(-len(ranked) * percent // 100)
    return ranked[max(int(rank), 1) - 1]


def ratios(ours: Sequence[float], theirs: Sequence[Sequence[float]]) -> list[float]:
    """Return, for each round, our figure divided by the best peer's of the same round."""
    return [
        mine / max(others) for mine, others in zip(ours, zip(*theirs, strict=True), strict=True)
    ]


def steady(ends: Sequence[float], first: float, last: float) -> float:
    """Return how many answers a second came between two moments, so that a start does not count."""
    return sum(first <= end < last for end in ends) / (last - first)


def share_of_possible(rate: float, unhindered: float, connections: int, delay: float) -> float:
    """Return which part of what is possible was reached.

    Args:
        rate: answers a second, with Stripe slow.
        unhindered: the same, with Stripe answering at once.
        connections: callers who each wait for their answer.
        delay: what Stripe takes, in seconds: a caller cannot be answered more often.
    """
    return rate / min(unhindered, connections / delay)
