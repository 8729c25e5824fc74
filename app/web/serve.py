"""The service as an operator runs it: it listens, and serves in one process or several."""

import contextlib
import functools
import importlib.metadata
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from app.config import Settings
from app.errors import ConfigurationError
from app.telemetry.metrics import Metrics
from app.web import sockets, systemd
from app.web.edge import Edge
from app.web.supervisor import Supervisor
from app.web.worker import Worker

log = structlog.get_logger()


def serve(
    build: Callable[[Metrics], Edge],
    settings: Settings,
    host: str,
    port: int,
    path: Path | None = None,
) -> None:
    """Serve until a signal ends it.

    Args:
        build: builds the service, with the metrics of the process.
        settings: how many workers there are.
        host: where to listen, unless systemd passes sockets or a path is given.
        port: 0 takes a free one.
        path: of a Unix domain socket.

    Raises:
        ConfigurationError: it cannot listen, or the service cannot start.
    """
    if settings.workers > 1 and not hasattr(os, "fork"):
        raise ConfigurationError("This system cannot fork: set --workers to 1")
    with contextlib.ExitStack() as cleanup:
        listening = _listen(cleanup, host, port, path)
        address = sockets.shown(listening)

        def ready(facts: Mapping[str, object]) -> None:
            version = importlib.metadata.version("coord-users")
            log.info("serving", version=version, address=address, workers=settings.workers, **facts)
            systemd.notify("READY=1", os.environ)

        def stopping() -> None:
            systemd.notify("STOPPING=1", os.environ)

        if settings.workers > 1:
            Supervisor(build, listening, settings, ready, stopping).run()
        else:
            Worker(functools.partial(build, Metrics()), listening, ready, stopping).run()


def _listen(
    cleanup: contextlib.ExitStack, host: str, port: int, path: Path | None
) -> list[socket.socket]:
    if passed := systemd.passed_sockets(os.environ):
        return passed
    if path is not None:
        return [cleanup.enter_context(sockets.bind_unix(path))]
    return sockets.bind_tcp(host, port)
