"""Metrics of several workers: each worker's exposition has those of all."""

import os
from collections.abc import Callable

import pytest
from prometheus_client import values
from telemetry.test_metrics import figures

from app.telemetry import shared_metrics
from app.telemetry.metrics import Metrics
from app.telemetry.shared_metrics import Board


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """Return the board of two workers; afterwards, metrics are again this process's own."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    return Board(2)


@pytest.fixture
def worker(board: Board) -> Callable[[int], Metrics]:
    """Return a function that makes the metrics of a worker; here, both are in one process."""

    def join(number: int) -> Metrics:
        board.join(number)
        return Metrics(board)

    return join


def samples(metrics: Metrics) -> dict[str, float]:
    return figures(metrics.exposition().decode())


def test_workers_count_together(worker: Callable[[int], Metrics]) -> None:
    """Sums, also of what one of them has never counted; of gauges that have one value, the last."""
    first = worker(0)
    first.requests.labels(200, "").inc()
    first.duration.observe(0.3)
    first.stripe_called("create", "answered", 0.3)
    first.in_flight.inc()
    first.open_attempts.set(7)
    second = worker(1)
    second.requests.labels(200, "").inc(2)
    second.requests.labels(402, "card_declined").inc()
    second.duration.observe(3)
    second.in_flight.inc()
    second.in_flight.inc()
    second.open_attempts.set(5)
    for metrics in (first, second):
        result = samples(metrics)
        assert result["coord_users_requests_total 200"] == 3
        assert result["coord_users_requests_total 402 card_declined"] == 1
        assert result["coord_users_request_seconds_count"] == 2
        assert result["coord_users_request_seconds_sum"] == 3.3
        assert result["coord_users_request_seconds_bucket 0.5"] == 1
        assert result["coord_users_request_seconds_bucket +Inf"] == 2
        assert result["coord_users_stripe_seconds_count answered create"] == 1
        assert result["coord_users_in_flight"] == 3
        assert result["coord_users_open_attempts"] == 5


def test_worker_that_ends(board: Board, worker: Callable[[int], Metrics]) -> None:
    """What it counted stays, and its successor goes on; what was in flight there is gone."""
    first = worker(0)
    first.requests.labels(200, "").inc()
    first.in_flight.inc()
    first.open_attempts.set(7)
    second = worker(1)
    second.open_attempts.set(5)
    assert board.slots[0].pid == os.getpid()
    board.slots[0].leave()
    assert board.slots[0].pid == 0
    result = samples(second)
    assert result["coord_users_requests_total 200"] == 1
    assert result["coord_users_in_flight"] == 0
    assert result["coord_users_open_attempts"] == 5
    assert "process_resident_memory_bytes 0" not in result
    successor = worker(0)
    successor.requests.labels(200, "").inc()
    assert samples(second)["coord_users_requests_total 200"] == 2
    assert samples(second)["process_resident_memory_bytes 0"] > 0


def test_slot_that_is_full(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes into no other memory."""
    monkeypatch.setattr(shared_metrics, "SLOT_BYTES", 4096)
    board.join(0)
    with pytest.raises(MemoryError, match="SLOT_BYTES"):
        Metrics(board)


def test_life_of_a_worker(board: Board) -> None:
    """The parent sees how often its event loop has run since it started."""
    slot = board.slots[0]
    slot.enter()
    slot.beat()
    slot.beat()
    assert slot.beats == 2
    slot.enter()
    assert slot.beats == 0


def test_metrics_of_one_worker_need_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says to prometheus_client, which another program may have set."""
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue())
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nonexistent")
    metrics = Metrics()
    metrics.requests.labels(200, "").inc()
    assert samples(metrics)["coord_users_requests_total 200"] == 1
