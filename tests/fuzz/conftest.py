"""Prints how many inputs were tried, and demands that they were many."""

from typing import Any

import pytest
from fuzz.inputs import LEAST, tried


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts to the process that sums them up, which fails where they are too low."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tried"] = tried
    elif _is_fuzzing(session.config) and sum(tried.values()) < LEAST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a process that tests were handed to."""
    for name, count in getattr(node, "workeroutput", {}).get("tried", {}).items():
        tried[name] = tried.get(name, 0) + count


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the counts, and what makes the same inputs again."""
    if not _is_fuzzing(config):
        return
    terminalreporter.section("inputs tried")
    for name, count in sorted(tried.items()):
        terminalreporter.line(f"{count:9,}  {name}")
    total = sum(tried.values())
    enough = "" if total >= LEAST else f", fewer than the {LEAST:,} demanded"
    seed = config.getoption("hypothesis_seed")
    terminalreporter.line(f"{total:9,}  in all{enough}, by --hypothesis-seed={seed}")


def _is_fuzzing(config: pytest.Config) -> bool:
    return config.option.markexpr == "fuzz" and not config.option.collectonly
