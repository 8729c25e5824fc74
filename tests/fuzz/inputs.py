"""Inputs, and the count of those that were tried."""

import os
from typing import Any

from hypothesis import HealthCheck, settings

# In all; below it, the run has failed whatever its tests say.
LEAST = 100_000
# By what they went into and what became of them.
tried: dict[str, int] = {}


def inputs(count: int) -> Any:
    """Try so many, or as many times as many as `FUZZ_SCALE` says."""
    return settings(
        max_examples=max(10, int(count * float(os.environ.get("FUZZ_SCALE", "1")))),
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def count(what: str, outcome: str) -> None:
    """Count one input."""
    name = f"{what}: {outcome}"
    tried[name] = tried.get(name, 0) + 1
