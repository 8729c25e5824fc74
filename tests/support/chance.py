"""What tests leave to chance, repeatable by SEED; and how much of it one run tries, by SHARE."""

import os
import random
import time

SEED = "SEED"
SHARE = "SHARE"


def choose_seed() -> str:
    """Choose the seed of this run, and of the processes that it starts, unless it is given."""
    return os.environ.setdefault(SEED, str(time.time_ns() % 2**32))


def seed() -> int:
    """Return the seed of this run."""
    return int(os.environ[SEED])


def chance_of(*names: object) -> random.Random:
    """Return what decides for one purpose, by the seed of this run and nothing else."""
    return random.Random(f"{seed()} {names}")


def share() -> float:
    """Return the share of cases and repetitions that this run tries: all of them, unless SHARE."""
    return float(os.environ.get(SHARE, "1"))


def part_of(number: int) -> int:
    """Return how many of a number of cases or repetitions this run tries, one at least."""
    return max(1, round(number * share()))
