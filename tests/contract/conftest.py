"""The server under test: a sandbox in its own process, or the deployment that `--url` names."""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.fuzz import Target
from support.pages import JWT
from support.sandbox_process import COMMAND, Printed

from app.contract.explorer import Prefilled

# Else a sandbox, like any deployment, would soon take no more cards of its one user.
WITHOUT_LIMITS = {"REFUSALS_PER_USER": "1000", "REFUSALS_PER_PARTNER": "100000"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that name a deployment."""
    parser.addoption("--url", help="a deployment, without the base path; else a sandbox is made")
    parser.addoption("--seed", type=int, help="instead of the random one, to see a run again")
    parser.addoption("--cases", type=int, help="how many random requests at most in each run")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty folder: what earlier runs tried must not count."""
    if config.option.markexpr == "contract" and not hasattr(config, "workerinput"):
        shutil.rmtree(_artifacts(config), ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a deployment only what can be seen from outside is tried."""
    if config.getoption("--url"):
        left = [item for item in items if "target" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the seed of each run, which repeats it."""
    if terminalreporter.config.option.markexpr != "contract":
        return
    for file in sorted(_artifacts(terminalreporter.config).glob("*/summary.txt")):
        terminalreporter.write_line(file.read_text("utf-8").strip())


@pytest.fixture
def prefilled() -> Prefilled:
    """Return what the sandbox fills in; each token and PaymentMethod is another."""
    tokens, payment_methods = itertools.count(1), itertools.count(1)
    return Prefilled(
        "demo_key",
        JWT,
        lambda: f"tok_fresh_{next(tokens)}",
        lambda: f"pm_fresh_{next(payment_methods)}",
    )


@pytest.fixture(scope="session")
def artifacts(request: pytest.FixtureRequest) -> Path:
    """Return the folder in which reports are kept."""
    return _artifacts(request.config)


@pytest.fixture(scope="session")
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """Yield the named deployment, with credentials from the environment, or else a sandbox."""
    if url := request.config.getoption("--url"):
        missing = [
            name for name in ("COORD_ACCESS_KEY", "COORD_USER_JWT") if not os.environ.get(name)
        ]
        if missing:
            pytest.fail(f"Set {' and '.join(missing)}", pytrace=False)
        yield Target(url, os.environ["COORD_ACCESS_KEY"], os.environ["COORD_USER_JWT"], False)
        return
    with _sandbox(tmp_path_factory.mktemp("sandbox")) as printed:
        yield Target(
            printed.value("Explorer").removesuffix("/v1/users/ui/"),
            printed.value("Access key"),
            printed.value("User JWT"),
            bears_refusals=True,
        )


@contextlib.contextmanager
def _sandbox(folder: Path) -> Iterator[Printed]:
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [COMMAND, "sandbox", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=folder,
            env={**os.environ, **WITHOUT_LIMITS},
        )
    try:
        yield Printed(process)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _artifacts(config: pytest.Config) -> Path:
    return config.rootpath / "artifacts" / "contract"
