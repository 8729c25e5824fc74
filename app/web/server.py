"""How uvicorn serves, the same wherever the service runs."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.config import Settings
from app.errors import ConfigurationError
from app.web.protocol import BoundedProtocol

# How long one thread may keep the others from running Python.
TURN_SECONDS = 0.001


def tune_interpreter() -> None:
    """Set the interpreter for a process that serves; call it once all is built.

    What was built lasts as long as the process, and requests leave few cycles behind: by its
    defaults the collector would look after every 700 objects, and through all of it again. Nobody
    is served while it looks, so it looks through few at a time: at 10,000 objects and 20 times
    that, with 200 requests in flight, it took up to 154 ms; at these numbers 59.

    When all threads have work, the loop gets its turn after many of theirs; with turns of 1 ms in
    the place of 5 ms it stays able to refuse in time, and the work takes no longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 10, 200)
    sys.setswitchinterval(TURN_SECONDS)


def options(settings: Settings) -> dict[str, Any]:
    """Give uvicorn's options, the same wherever the service runs.

    Args:
        settings: tell how long accepted requests may take to end.
    """
    return {
        "http": BoundedProtocol,
        # A contract that is broken must stop the start, not answer 500 to everything.
        "lifespan": "on",
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        # `app.web.edge` believes proxies, by address.
        "proxy_headers": False,
        "timeout_graceful_shutdown": int(settings.request_timeout) + 5,
        # A worker is mute until it has imported all this: on a busy machine longer than uvicorn's
        # five seconds, after which it would be ended and begun again, for ever.
        "timeout_worker_healthcheck": 60,
        # Callers who come at once wait here rather than being turned away.
        "backlog": 4096,
    }


class Workers(Multiprocess):
    """Uvicorn's supervisor; it sees at once that a worker has died.

    Uvicorn keeps the worker's end of the pipe by which it asks whether the worker is alive. So the
    question to one that dies before it answers would not fail, but be waited for in vain: a minute
    with a worker less, and deaf to SIGTERM.
    """

    def keep_subprocess_alive(self) -> None:
        """Look after each worker, which has its end of the pipe by now."""
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


def listen(port: int) -> socket.socket:
    """Listen on this machine alone.

    Args:
        port: 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError:
        listening.close()
        raise ConfigurationError(f"Port {port} is taken: choose another with --port") from None
    return listening


def run(app: Any, settings: Settings, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until the process is told to stop, by Ctrl-C or SIGTERM.

    Args:
        app: an ASGI application.
        settings: as for `options`.
        listening: where.
        ready: called once requests are taken.
    """
    # Whoever ends it with SIGTERM wants it gone without a trace, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = _Server(uvicorn.Config(app, **options(settings)), ready)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(sockets=[listening]))


class _Server(uvicorn.Server):
    """Uvicorn's server; it tells when it takes requests."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
