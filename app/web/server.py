"""Uvicorn, set up in the same way wherever the service runs."""

import contextlib
import gc
import math
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from app.config import Settings
from app.errors import ConfigurationError
from app.web.protocol import BoundedProtocol

# How long one thread may keep the others from running Python, in seconds. With Python's own 5 ms,
# the event loop waits for many busy threads and refuses too late; with 1 ms they are as fast.
SWITCH_SECONDS = 0.001
# New objects after which the garbage collector looks at the youngest, and how many of its rounds
# make one of the next older generation. Nothing is served meanwhile. With 200 requests in flight,
# 2,000 objects took up to 59 ms, and 10,000 took 154 ms; with Python 3.11's own 700, it runs too
# often, as requests leave few reference cycles.
GARBAGE_THRESHOLDS = (2_000, 10, 200)
# Connections that may wait to be accepted: callers who come at once wait rather than fail.
BACKLOG = 4096
# How long responses may take to be sent once the last request must have ended, in seconds.
SEND_SECONDS = 1


def tune_interpreter() -> None:
    """Set up the interpreter for serving, once all that lasts is built.

    What exists by now is hidden from the garbage collector, which is on from here: it lasts as long
    as the process does.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()
    sys.setswitchinterval(SWITCH_SECONDS)


def config_for(app: Any, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration for the service.

    Args:
        app: the ASGI application.
        settings: how long requests may take.
    """
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        # An application that cannot start must stop the process, not respond 500 to all requests.
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # `app.web.forwarded` does it.
        proxy_headers=False,
        backlog=BACKLOG,
        # Else uvicorn reads WEB_CONCURRENCY.
        workers=1,
        timeout_keep_alive=math.ceil(settings.keep_alive_seconds),
        timeout_graceful_shutdown=math.ceil(settings.request_timeout) + SEND_SECONDS,
    )


class Server(uvicorn.Server):
    """Uvicorn's server with a hook; signals are left to `app.web.worker`.

    Args:
        config: how to serve.
        ready: called once requests are taken.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and accept connections.

        Raises:
            ConfigurationError: the application does not start; uvicorn has logged why.
        """
        try:
            await super().startup(sockets)
        except SystemExit:
            # Raised out of a task it would end the event loop, which may serve another generation.
            raise ConfigurationError("The application failed to start; the log says why") from None
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as they are."""
        yield
