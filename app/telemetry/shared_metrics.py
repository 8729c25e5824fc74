"""Metrics of several workers as one: each worker writes its own values and reads those of all.

The values are in anonymous memory that the parent maps before it forks the workers. So there is no
folder that could be missing, read-only or emptied while the service runs, as there is with the
files of prometheus_client's multiprocess mode; and the counts of a killed worker are kept.
"""

import functools
import json
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from prometheus_client import ProcessCollector, values
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# Of one slot. A worker has some 300 values of 200 bytes; pages that are not used take no memory.
SLOT_BYTES = 1024 * 1024
# All numbers are 8 bytes long and aligned, so that no process reads one that is half written.
INTEGER = struct.Struct("q")
TIMED_VALUE = struct.Struct("dd")
# A slot begins with the worker's process id, 0 if there is none; how often its event loop has run;
# and how many bytes are used. Then come the values: the length of the key, the key, value and time.
PID, BEATS, USED, FIRST_VALUE = 0, 8, 16, 24


class Key(NamedTuple):
    """What identifies a value.

    Attributes:
        sample: the sample's name, which may have a suffix such as `_bucket`.
        mode: how the values of the workers are combined if they are a gauge's; empty otherwise.
    """

    metric: str
    sample: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    mode: str


class Slot:
    """The values of one worker, and of those that it has replaced."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOT_BYTES)
        self._positions: dict[Key, int] = {}
        self.lock = threading.Lock()
        self._set(USED, FIRST_VALUE)

    def enter(self) -> None:
        """Take the slot for this process. Counters continue from where its predecessor ended."""
        self._positions = dict(self._entries())
        self._set(BEATS, 0)
        self._set(PID, os.getpid())

    def leave(self) -> None:
        """Free the slot of a worker that has ended: its gauges no longer count."""
        self._set(PID, 0)
        for key, position in self._entries():
            if key.mode:
                self.write(position, 0.0, 0.0)

    def beat(self) -> None:
        """Record that the worker's event loop runs."""
        self._set(BEATS, self.beats + 1)

    @property
    def pid(self) -> int:
        """The worker's process id; 0 if there is no worker."""
        return self._get(PID)

    @property
    def beats(self) -> int:
        """How often the worker has called `beat`."""
        return self._get(BEATS)

    def position(self, key: Key) -> int:
        """Return where this worker's value is, which is 0 at first; call it with the lock held.

        Raises:
            MemoryError: the slot is full.
        """
        if key not in self._positions:
            text = json.dumps(key).encode()
            text += b" " * (-len(text) % INTEGER.size)
            start = self._get(USED)
            entry = INTEGER.pack(len(text)) + text + TIMED_VALUE.pack(0.0, 0.0)
            if start + len(entry) > SLOT_BYTES:
                raise MemoryError("The metrics of a worker need more than SLOT_BYTES")
            self._memory[start : start + len(entry)] = entry
            # Last, so that no other process reads an entry that is not complete.
            self._set(USED, start + len(entry))
            self._positions[key] = start + len(entry) - TIMED_VALUE.size
        return self._positions[key]

    def read(self, position: int) -> tuple[float, float]:
        """Return a value and the time when it was set."""
        value, time = TIMED_VALUE.unpack_from(self._memory, position)
        return value, time

    def write(self, position: int, value: float, time: float) -> None:
        """Set a value, and the time when it was set."""
        self._memory[position : position + TIMED_VALUE.size] = TIMED_VALUE.pack(value, time)

    def all(self) -> dict[Key, tuple[float, float]]:
        """Return all values with their times."""
        return {key: self.read(position) for key, position in self._entries()}

    def _entries(self) -> Iterator[tuple[Key, int]]:
        at, end = FIRST_VALUE, self._get(USED)
        while at < end:
            start = at + INTEGER.size
            at = start + self._get(at)
            metric, sample, names, labels, mode = json.loads(self._memory[start:at])
            yield Key(metric, sample, tuple(names), tuple(labels), mode), at
            at += TIMED_VALUE.size

    def _get(self, position: int) -> int:
        (number,) = INTEGER.unpack_from(self._memory, position)
        return int(number)

    def _set(self, position: int, number: int) -> None:
        self._memory[position : position + INTEGER.size] = INTEGER.pack(number)


def _sum(timed: list[tuple[float, float]]) -> float:
    return sum(value for value, _ in timed)


def _latest(timed: list[tuple[float, float]]) -> float:
    return max(timed, key=lambda one: one[1])[0]


COMBINE: dict[str, Callable[[list[tuple[float, float]]], float]] = {
    "": _sum,
    "livesum": _sum,
    "livemostrecent": _latest,
}


class Board:
    """The slots of all workers."""

    def __init__(self, workers: int) -> None:
        self.slots = [Slot() for _ in range(workers)]
        self._read: list[dict[Key, tuple[float, float]]] = []

    def join(self, number: int) -> None:
        """Let all metrics that this process makes from here on write into one of the slots."""
        self.slots[number].enter()
        values.ValueClass = functools.partial(_SharedValue, self, self.slots[number])

    def read(self) -> set[Key]:
        """Read the values of all workers, from which those of this worker's metrics are combined.

        Returns:
            The keys of all values.
        """
        self._read = [slot.all() for slot in self.slots]
        return {key for one in self._read for key in one}

    def combined(self, key: Key) -> float:
        """Return a value, combined from all workers' as of the last `read`."""
        return COMBINE[key.mode]([one.get(key, (0.0, 0.0)) for one in self._read])


class _SharedValue:
    """Takes the place of prometheus_client's value in memory; `Metrics` has a test of that seam."""

    def __init__(
        self,
        board: Board,
        slot: Slot,
        kind: str,
        metric: str,
        sample: str,
        names: Sequence[str],
        labels: Sequence[str],
        _help: str,
        multiprocess_mode: str = "",
    ) -> None:
        mode = multiprocess_mode if kind == "gauge" else ""
        self._key = Key(metric, sample, tuple(names), tuple(labels), mode)
        self._board = board
        self._slot = slot
        with slot.lock:
            self._position = slot.position(self._key)

    def inc(self, amount: float) -> None:
        with self._slot.lock:
            value, _ = self._slot.read(self._position)
            self._slot.write(self._position, value + amount, 0.0)

    def set(self, value: float, timestamp: float | None = None) -> None:
        with self._slot.lock:
            self._slot.write(self._position, value, timestamp or 0.0)

    def get(self) -> float:
        return self._board.combined(self._key)

    def get_exemplar(self) -> None:
        """Return no exemplar: none is ever set."""


class WorkerProcesses(Collector):
    """Memory, processor time and open files of each worker, by its number."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        """Return what prometheus_client's own collector returns for one process."""
        found: dict[str, Metric] = {}
        for number, slot in enumerate(self._slots):
            for metric in _process(slot.pid) if slot.pid else ():
                kept = found.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    kept.add_sample(sample.name, {"worker": str(number)}, sample.value)
        yield from found.values()


def _process(pid: int) -> Any:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
