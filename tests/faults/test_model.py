"""Any interleaving of requests, crashes, faults and restarts, held against what always holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from faults import tally
from faults.model import Model
from faults.model_state import PROCESSES
from faults.simulated import Clock
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)
from support.chance import part_of, seed, share

from app.storage.database import Database


@pytest.fixture(autouse=True)
def simulated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace sleeping by simulated time."""
    monkeypatch.setattr("app.customers.save_card.time", Clock())
    monkeypatch.setattr("app.customers.settle.time", Clock())
    monkeypatch.setattr("app.customers.forget.time", Clock())


@pytest.fixture
def counts() -> Iterator[Callable[[str], None]]:
    """Yield a way to count what is tried, and tell it at the end."""
    counted: Counter[str] = Counter()
    yield lambda what: counted.update([what])
    print(dict(counted))
    for what, number in counted.items():
        tally.count(f"model: {what}", number)


def run_model(url: str, counts: Callable[[str], None], route: str, **options: Any) -> None:
    databases = [Database(url) for _ in range(PROCESSES)]

    def model() -> Model:
        return Model(databases, counts, route)

    if not options.get("derandomize"):
        hypothesis.seed(seed())(model)
    run_state_machine_as_test(
        model,
        settings=settings(
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            **options,
        ),
    )
    for database in databases:
        database.close()


@pytest.mark.all_routes
def test_any_interleaving(url: str, counts: Callable[[str], None], route: str) -> None:
    """A few hundred steps, the same at each run."""
    examples = 20 if route == "source" else 6
    run_model(
        url,
        counts,
        route,
        derandomize=True,
        max_examples=examples,
        stateful_step_count=20,
        database=None,
    )


@pytest.mark.long
@pytest.mark.repeats
@pytest.mark.all_routes
def test_many_interleavings(url: str, counts: Callable[[str], None], route: str) -> None:
    """Some thousand steps, others for each SEED."""
    # To find the shortest sequence that fails takes longer than a run of `tox -e proofs` has.
    phases = [one for one in Phase if share() == 1 or one is not Phase.shrink]
    run_model(
        url,
        counts,
        route,
        max_examples=part_of(60),
        stateful_step_count=50,
        database=None,
        phases=phases,
    )
