"""One process that serves, from its start to its end.

SIGTERM, SIGINT: stop taking requests, finish those in flight, exit; SIGINT again: exit at once.
SIGHUP: build the service anew, which reads files of secrets again, and let it take over.
SIGUSR1, SIGUSR2: ignored; by default they would end the process.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

import structlog

from app.config import SHUTDOWN_SECONDS, Settings
from app.errors import ConfigurationError
from app.web.edge import Edge
from app.web.server import Server, config_for, tune_interpreter

log = structlog.get_logger()

# How often a worker shows its parent that its event loop runs, in seconds.
BEAT_SECONDS = 1.0
# How long before the end of its time a process that is still at work ends by force, in seconds.
FORCE_SECONDS = 0.5

ENDING = (signal.SIGTERM, signal.SIGINT)


class Worker:
    """A process that serves; its main thread runs it.

    Args:
        build: builds the service.
        sockets: where it listens.
        ready: called with facts about the service once requests are taken.
        stopping: called when no more requests shall come.
        is_reloadable: whether SIGHUP builds the service anew, rather than ending the process.
        beat: called every second while the event loop runs.
        parent: reads its end when the parent process has ended, so that none can stop or
            replace this process any more; it is the parent that gets SIGINT.
    """

    def __init__(
        self,
        build: Callable[[], Edge],
        sockets: Sequence[socket.socket],
        ready: Callable[[Mapping[str, object]], None],
        stopping: Callable[[], None] = lambda: None,
        *,
        is_reloadable: bool = True,
        beat: Callable[[], None] = lambda: None,
        parent: socket.socket | None = None,
    ) -> None:
        self._build = build
        self._sockets = sockets
        self._ready = ready
        self._stopping = stopping
        self._is_reloadable = is_reloadable and hasattr(signal, "SIGHUP")
        self._beat = beat
        self._parent = parent
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_orphan = False
        self._retiring: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            ConfigurationError: the service cannot start.
        """
        with self._signal_handlers():
            edge = self._build()
            loop_factory = config_for(edge, edge.settings).get_loop_factory()
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(self._serve(edge))

    async def _serve(self, edge: Edge) -> None:
        self._loop = asyncio.get_running_loop()
        running = await _start(edge, self._sockets)
        tune_interpreter()
        if self._parent is not None:
            self._loop.add_reader(self._parent, self._on_parent_gone)
        beats = asyncio.create_task(self._show_life())
        self._ready(edge.facts)
        while await self._signals.get() not in ENDING:
            running = await self._reload(running)
        await self._stop(running)
        beats.cancel()

    async def _reload(self, old: "_Generation") -> "_Generation":
        try:
            edge = await asyncio.to_thread(self._build)
            new = await _start(edge, self._sockets)
        except ConfigurationError as error:
            log.error("reload failed", reason=str(error))
            return old
        except Exception as error:
            log.error("reload failed", exc_info=error)
            return old
        log.info("reloaded", **edge.facts)
        self._retiring.add(asyncio.create_task(_retire(old)))
        return new

    async def _stop(self, running: "_Generation") -> None:
        settings = running.edge.settings
        drain = 0.0 if self._is_orphan else settings.drain_seconds
        log.info("stopping", drain_seconds=drain)
        self._stopping()
        running.edge.is_stopping = True
        for sock in self._sockets:
            # Each generation has duplicates of its own; it closes them after the drain.
            sock.close()
        with _end_by_force(drain, settings):
            impatience = asyncio.create_task(self._exit_when_interrupted())
            await asyncio.sleep(drain)
            await asyncio.gather(running.end(), *self._retiring)
            impatience.cancel()

    async def _exit_when_interrupted(self) -> None:
        # SIGTERM may come twice: from systemd, which sends it to all, and from the parent.
        while await self._signals.get() != signal.SIGINT:
            pass
        # Not sys.exit: that waits for threads.
        os._exit(1)

    async def _show_life(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(BEAT_SECONDS)

    def _on_parent_gone(self) -> None:
        assert self._loop is not None
        self._loop.remove_reader(self._parent)  # type: ignore[arg-type]
        self._is_orphan = True
        self._signals.put_nowait(signal.SIGTERM)

    @contextlib.contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        handlers: dict[signal.Signals, signal.Handlers | Callable[[int, FrameType | None], None]]
        handlers = {signal.SIGTERM: self._receive, signal.SIGINT: self._receive}
        if self._parent is not None:
            # A terminal sends it to all; the parent answers it with SIGTERM.
            handlers[signal.SIGINT] = signal.SIG_IGN
        if self._is_reloadable:
            handlers[signal.SIGHUP] = self._receive
            handlers[signal.SIGUSR1] = handlers[signal.SIGUSR2] = signal.SIG_IGN
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._signals.put_nowait, number)
        elif number in ENDING:
            # Nothing is served yet.
            sys.exit(0)


class _Generation:
    """The service as it was built once; after SIGHUP, another one takes over.

    Args:
        edge: the service.
        sockets: where it listens; it uses duplicates of them.
    """

    def __init__(self, edge: Edge, sockets: Sequence[socket.socket]) -> None:
        self.edge = edge
        self.ready = asyncio.Event()
        self.server = Server(config_for(edge, edge.settings), self.ready.set)
        self.sockets = [sock.dup() for sock in sockets]
        self.task = asyncio.create_task(self.server.serve(self.sockets))

    async def end(self) -> None:
        """Take no more requests, and finish those in flight."""
        self.edge.end_background()
        self.server.should_exit = True
        await self.task


async def _start(edge: Edge, sockets: Sequence[socket.socket]) -> _Generation:
    """Start to serve.

    Raises:
        ConfigurationError: another process listens at one of the sockets, or the application does
            not start.
    """
    new = _Generation(edge, sockets)
    ready = asyncio.create_task(new.ready.wait())
    await asyncio.wait((new.task, ready), return_when=asyncio.FIRST_COMPLETED)
    if not new.ready.is_set():
        ready.cancel()
        for sock in new.sockets:
            sock.close()
        try:
            await new.task
        except OSError as error:
            raise ConfigurationError(f"Cannot listen: {error.strerror}") from None
    return new


async def _retire(old: _Generation) -> None:
    old.edge.is_stopping = True
    await old.end()
    # What the old generation has left is hidden from the garbage collector.
    gc.unfreeze()
    tune_interpreter()


@contextlib.contextmanager
def _end_by_force(drain: float, settings: Settings) -> Iterator[None]:
    """End the process if the block takes longer than a process may to stop."""
    seconds = drain + settings.request_timeout + SHUTDOWN_SECONDS - FORCE_SECONDS
    timer = threading.Timer(seconds, _force)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _force() -> None:
    log.warning("stopped by force", reason="work did not end in time; it will be completed")
    os._exit(0)
