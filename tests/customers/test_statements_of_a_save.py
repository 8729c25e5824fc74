"""What a save asks of the database: nothing that it does not need."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.serving import Caller

from app.storage import sqlite


@pytest.fixture
def of_requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The first words of all statements of the threads that handle requests."""
    seen: list[str] = []
    prepare = sqlite._make_durable

    def watch(statement: str) -> None:
        if threading.current_thread().name.startswith("request"):
            seen.append(" ".join(statement.split()[:2]))

    def prepare_and_watch(connection: Any, record: object) -> None:
        prepare(connection, record)
        connection.set_trace_callback(watch)

    monkeypatch.setattr(sqlite, "_make_durable", prepare_and_watch)
    return seen


def test_save_is_two_transactions_of_one_statement(of_requests: list[str], caller: Caller) -> None:
    """One before Stripe is called, and one after: each statement more holds the write lock longer.

    SQLAlchemy's own way would do the same, with more work around each.
    """
    for subject in ("user-1", "user-2"):
        of_requests.clear()
        assert caller.save("tok_visa", subject).status_code == 200
        assert [it.rstrip() for it in of_requests] == [
            *("BEGIN", "INSERT INTO", "COMMIT"),
            *("BEGIN", "UPDATE users", "COMMIT"),
        ]
