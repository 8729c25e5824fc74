"""Runs a command in this process, on a migrated database."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from app.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    # It is for the whole process, which other tests share.
    monkeypatch.setattr("app.telemetry.logs.configure", lambda _: None)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words, env={"DATABASE_URL": database_url})

    return run
