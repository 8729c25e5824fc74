"""Several workers: a parent forks them, replaces those that end, and passes signals on."""

import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

import structlog

from app.config import SHUTDOWN_SECONDS, Settings
from app.errors import ConfigurationError
from app.telemetry.metrics import Metrics
from app.telemetry.shared_metrics import Board
from app.web.child import Child
from app.web.edge import Edge
from app.web.worker import Worker

log = structlog.get_logger()

# How often the parent looks after its workers, in seconds.
TICK_SECONDS = 1.0
# Ticks without a beat after which a worker hangs: its start may take long on a busy machine. Ticks
# rather than seconds, as a machine may sleep and wake up.
MAX_SILENT_TICKS = 60
# A worker that ends earlier than this has failed to start, in seconds.
SHORT_LIFE_SECONDS = 5.0
# Pauses before the next start, by the number of failed ones, in seconds. After the last one the
# parent gives up, unless only processes are lacking and another worker serves; half a minute in all
# is longer than a database takes to fail over.
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
HANDLED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD")

Facts = Mapping[str, object]


class Supervisor:
    """The parent of several workers.

    Args:
        build: builds the service, with metrics that the workers share.
        sockets: where it listens.
        settings: how many workers there are, and how long they may take to stop.
        ready: called with facts about the service once all workers take requests.
        stopping: called when no more requests shall come.
    """

    def __init__(
        self,
        build: Callable[[Metrics], Edge],
        sockets: Sequence[socket.socket],
        settings: Settings,
        ready: Callable[[Facts], None],
        stopping: Callable[[], None],
    ) -> None:
        self._build = build
        self._sockets = sockets
        self._settings = settings
        self._ready = ready
        self._stopping = stopping
        self._board = Board(settings.workers)
        self._children = [Child(number) for number in range(settings.workers)]
        self._received: list[int] = []
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._facts: Facts = {}
        self._has_served = False
        self._next_tick = 0.0

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            ConfigurationError: the workers cannot start.
        """
        # Nothing is shared with the workers that the garbage collector would write to.
        gc.freeze()
        with self._signals():
            try:
                while not self._is_told_to_stop():
                    self._start_due()
                    self._wait(TICK_SECONDS)
                    self._look_after()
            finally:
                self._stop()

    def _is_told_to_stop(self) -> bool:
        received, self._received[:] = list(self._received), []
        if signal.SIGHUP in received:
            self._send(signal.SIGHUP)
        return signal.SIGTERM in received or signal.SIGINT in received

    def _look_after(self) -> None:
        for child in self._children:
            self._read_reports(child)
            self._reap(child)
        if not self._has_served and all(child.is_ready for child in self._children):
            self._has_served = True
            self._ready(self._facts)
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_SECONDS
            for child in self._children:
                self._check_beat(child)

    def _start_due(self) -> None:
        for child in self._children:
            if child.pid or time.monotonic() < child.start_at:
                continue
            try:
                self._fork(child)
            except OSError as error:
                # The system has no process or no memory left; the other workers go on.
                reason = f"no process: {error.strerror}"
                log.error("worker not started", reason=reason)
                # To give up would end workers that the system has no room to start again.
                is_serving = any(other.is_ready for other in self._children)
                if is_serving and child.failures == len(PAUSES):
                    child.failures -= 1
                self._plan_start(child, reason, is_failure=True)

    def _fork(self, child: Child) -> None:
        """Start a worker.

        Raises:
            OSError: the system refuses; all is as before.
        """
        child.channel, other = socket.socketpair()
        child.channel.setblocking(False)
        child.is_ready, child.error, child.silent_ticks = False, "", 0
        child.started_at = time.monotonic()
        # A signal that comes before the worker has handlers of its own waits until it has.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers(HANDLED))
        try:
            child.pid = os.fork() or self._become_worker(child, other, before)
        except OSError:
            child.channel.close()
            child.channel = None
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            other.close()

    def _become_worker(self, child: Child, channel: socket.socket, mask: set[int]) -> NoReturn:
        """Run a worker in this process, which is a copy of the parent, and exit."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _numbers(HANDLED):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            # As long as any worker has the parent's end, the others do not notice that it is gone.
            for other in self._children:
                if other.channel is not None:
                    other.channel.close()
            slot = self._board.slots[child.number]
            self._board.join(child.number)
            Worker(
                functools.partial(self._build, Metrics(self._board)),
                self._sockets,
                functools.partial(_report, channel, "facts"),
                beat=slot.beat,
                parent=channel,
            ).run()
            status = 0
        except ConfigurationError as error:
            _report(channel, "error", str(error))
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0
        except BaseException as error:
            log.error("worker failed", exc_info=error)
            _report(channel, "error", type(error).__name__)
        finally:
            # Not sys.exit: what the parent does at its end must not be done here as well.
            os._exit(status)

    def _read_reports(self, child: Child) -> None:
        """Read what a worker has reported: one line, which it writes at once."""
        if child.channel is None:
            return
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for line in child.channel.recv(65536).splitlines():
                report = json.loads(line)
                child.error = report.get("error", "")
                if "facts" in report:
                    child.is_ready = True
                    self._facts = report["facts"]

    def _reap(self, child: Child) -> None:
        if not child.pid or not (ended := os.waitpid(child.pid, os.WNOHANG))[0]:
            return
        code = os.waitstatus_to_exitcode(ended[1])
        self._read_reports(child)
        self._forget(child)
        log.warning("worker ended", pid=ended[0], status=code, reason=child.error)
        lived = time.monotonic() - child.started_at
        is_failure = not child.is_ready or lived < SHORT_LIFE_SECONDS
        child.is_ready = False
        if child.error and not self._has_served:
            raise ConfigurationError(child.error)
        reason = child.error or f"it ended with status {code}"
        self._plan_start(child, reason, is_failure=is_failure)

    def _plan_start(self, child: Child, reason: str, *, is_failure: bool) -> None:
        """Set when a worker is to be started again: later after each failure in a row."""
        child.failures = child.failures + 1 if is_failure else 0
        if child.failures > len(PAUSES):
            raise ConfigurationError(f"A worker failed to start {child.failures} times: {reason}")
        pause = PAUSES[child.failures - 1] if child.failures else 0.0
        child.start_at = time.monotonic() + pause

    def _forget(self, child: Child) -> None:
        assert child.channel is not None
        child.channel.close()
        child.channel, child.pid = None, 0
        self._board.slots[child.number].leave()

    def _check_beat(self, child: Child) -> None:
        if not child.pid:
            return
        beats = self._board.slots[child.number].beats
        child.silent_ticks = child.silent_ticks + 1 if beats == child.beats else 0
        child.beats = beats
        if child.silent_ticks > MAX_SILENT_TICKS:
            log.error("worker hangs", pid=child.pid)
            os.kill(child.pid, signal.SIGKILL)
            child.silent_ticks = 0

    def _stop(self) -> None:
        """End all workers; by force those that take longer than they may, or at SIGINT."""
        self._stopping()
        for sock in self._sockets:
            # Each worker has duplicates; while this one is open, callers would wait in its queue.
            sock.close()
        self._send(signal.SIGTERM)
        seconds = self._settings.drain_seconds + self._settings.request_timeout + SHUTDOWN_SECONDS
        until = time.monotonic() + seconds
        while any(child.pid for child in self._children):
            self._wait(max(0.0, min(TICK_SECONDS, until - time.monotonic())))
            if signal.SIGINT in self._received or time.monotonic() >= until:
                self._send(signal.SIGKILL)
            for child in self._children:
                if child.pid and os.waitpid(child.pid, os.WNOHANG)[0]:
                    self._forget(child)

    def _send(self, number: int) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, number)

    def _wait(self, seconds: float) -> None:
        """Wait for a signal or a report."""
        channels = [child.channel for child in self._children if child.channel is not None]
        select.select([self._wake_reader, *channels], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno())
        before = {
            number: signal.signal(number, lambda number, _frame: self._received.append(number))
            for number in _numbers(HANDLED)
        }
        for number in _numbers(("SIGUSR1", "SIGUSR2")):
            before[number] = signal.signal(number, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)
            self._wake_reader.close()
            self._wake_writer.close()


def _numbers(names: Sequence[str]) -> set[signal.Signals]:
    # By name, as not all systems have all of them, and this module is imported on all.
    return {getattr(signal, name) for name in names}


def _report(channel: socket.socket, what: str, content: object) -> None:
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps({what: content}).encode() + b"\n")
