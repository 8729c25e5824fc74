"""The signals that a serving process handles, with one worker and with several."""

import asyncio
import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from support.server_process import ServerProcess, serving
from support.serving import PATH, Caller, Partner

from app.config import Settings
from app.errors import ConfigurationError
from app.sandbox.standin.server import StandIn
from app.web import worker

BOTH = pytest.mark.parametrize("workers", ["1", "2"])
# How long a process may take to stop besides DRAIN_SECONDS and REQUEST_TIMEOUT, in seconds.
GRACE = 5.0


def in_flight(server: ServerProcess) -> bool:
    return "coord_users_in_flight 1.0" in server.get("/metrics")


@BOTH
def test_reload(settings: Settings, partner: Partner, tmp_path: Path, workers: str) -> None:
    """SIGHUP reads the key's file again; no request is refused or cut off meanwhile.

    SIGUSR1 and SIGUSR2 do nothing. An invalid file is logged and changes nothing.
    """
    key = tmp_path / "key"
    key.write_text("sk_test_first\n")
    environ = {"STRIPE_SECRET_KEY": "", "STRIPE_SECRET_KEY_FILE": str(key)}
    reloads = int(workers)
    with (
        StandIn(delay=1.0) as slow,
        serving(
            replace(settings, stripe_api_base=slow.url),
            tmp_path / "log",
            *("--workers", workers),
            **environ,
        ) as server,
        ThreadPoolExecutor(1) as threads,
        Caller(server.url, partner) as caller,
    ):
        saved = threads.submit(caller.save, slow.new_token())
        server.wait_for(lambda: in_flight(server), "the request")
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            server.process.send_signal(number)
        while len(server.events("reloaded")) < reloads:
            assert server.get("/healthz") == "alive"
        assert saved.result().status_code == 200
        key.write_text("hunter2")
        server.process.send_signal(signal.SIGHUP)
        failed = server.wait_for_event("reload failed", reloads)
        assert failed["reason"].startswith("STRIPE_SECRET_KEY is not a secret key")
        assert server.get("/readyz") == "ready"
    assert "hunter2" not in (tmp_path / "log").read_text()


@BOTH
def test_drain(settings: Settings, partner: Partner, tmp_path: Path, workers: str) -> None:
    """After SIGTERM it is not ready, accepts requests for DRAIN_SECONDS, and completes all."""
    with (
        StandIn(delay=1.0) as slow,
        serving(
            replace(settings, stripe_api_base=slow.url),
            tmp_path / "log",
            *("--workers", workers),
            DRAIN_SECONDS="3",
        ) as server,
        ThreadPoolExecutor(2) as threads,
        Caller(server.url, partner) as caller,
        httpx.Client(base_url=server.url, trust_env=False) as probe,
    ):
        assert probe.get("/healthz").headers.get("connection") != "close"
        first = threads.submit(caller.save, slow.new_token(), "user-1")
        server.wait_for(lambda: in_flight(server), "the request")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_event("stopping", int(workers))
        # It may come twice: from systemd, which sends it to all, and from the parent.
        server.process.send_signal(signal.SIGTERM)
        actual = httpx.get(f"{server.url}/readyz", trust_env=False)
        assert (actual.status_code, actual.text) == (503, "stopping")
        # The caller turns elsewhere with its next request.
        assert actual.headers["connection"] == "close"
        second = caller.save(slow.new_token(), "user-2")
        assert first.result().status_code == second.status_code == 200
        assert server.process.wait(60) == 0
        assert 3.0 <= time.monotonic() - began < 3.0 + settings.request_timeout + GRACE


@contextlib.contextmanager
def silent_stripe() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@BOTH
def test_stop_has_a_time_limit(
    settings: Settings, partner: Partner, tmp_path: Path, workers: str
) -> None:
    """Although a caller sends its body without end, and the completer waits for Stripe."""
    with silent_stripe() as url, contextlib.ExitStack() as slow:
        server = slow.enter_context(
            serving(
                replace(settings, stripe_api_base=url, stripe_timeout=2.0, request_timeout=2.0),
                tmp_path / "log",
                *("--workers", workers),
            )
        )
        with Caller(server.url, partner) as caller:
            # Left open, so that the completer is busy from now on.
            assert caller.save("tok_visa").status_code == 503
        address = urlsplit(server.url)
        sock = slow.enter_context(
            socket.create_connection((str(address.hostname), int(address.port or 0)))
        )
        sock.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{".encode())
        sending = threading.Timer(1.0, lambda: sock.sendall(b"{"))
        sending.start()
        assert server.stop() < 2.0 + GRACE + 0.5
        sending.join()


# Something that never ends beside the requests.
ENDLESS = """
import threading
from app.cli import main
from app.customers.completer import Completer

Completer.stop = lambda self: threading.Event().wait()
main()
"""


@pytest.mark.measures
@BOTH
def test_requests_that_exceed_the_time_limit_are_abandoned(
    settings: Settings, tmp_path: Path, workers: str
) -> None:
    """The database keeps their attempts, so a later process settles them."""
    program = tmp_path / "endless.py"
    program.write_text(ENDLESS)
    with serving(
        replace(settings, stripe_timeout=0.5, request_timeout=0.5),
        tmp_path / "log",
        *("--workers", workers),
        program=(sys.executable, program),
    ) as server:
        assert server.stop() < 0.5 + GRACE + 0.5
        assert len(server.events("stopped by force")) == int(workers)


@BOTH
def test_second_interrupt_stops_at_once(
    settings: Settings, partner: Partner, tmp_path: Path, workers: str
) -> None:
    """A developer does not want to wait."""
    with (
        StandIn(delay=30.0) as slow,
        serving(
            replace(settings, stripe_api_base=slow.url, stripe_timeout=40, request_timeout=60),
            tmp_path / "log",
            *("--workers", workers),
        ) as server,
        ThreadPoolExecutor(1) as threads,
        Caller(server.url, partner) as caller,
    ):
        lost = threads.submit(caller.save, "tok_visa")
        server.wait_for(lambda: in_flight(server), "the request")
        server.process.send_signal(signal.SIGINT)
        server.wait_for_event("stopping", int(workers))
        server.process.send_signal(signal.SIGINT)
        server.process.wait(20)
        with pytest.raises(httpx.TransportError):
            lost.result()


def test_interrupt_before_serving_exits_with_0(tmp_path: Path, settings: Settings) -> None:
    """Without a traceback."""
    program = tmp_path / "slow.py"
    program.write_text(
        "import os, signal\n"
        "from app import cli, service\n"
        "def slow(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pause()\n"
        "service.create_app = slow\n"
        "cli.main()\n"
    )
    server = ServerProcess(settings, tmp_path / "log", program=(sys.executable, program))
    assert server.process.wait(60) == 0
    assert (tmp_path / "log").read_text() == ""


AT_A_LOSS = """
import os, signal
from app.cli import main
from app.web.worker import Worker

begin, reload = Worker.__init__, Worker._reload

def begin_and_reload(self, build, *words, **options):
    def reload_and_build():
        os.kill(os.getpid(), signal.SIGHUP)
        return build()
    begin(self, reload_and_build, *words, **options)

async def fail_to_reload(self, running):
    def build():
        raise RuntimeError("odd")
    self._build = build
    return await reload(self, running)

Worker.__init__, Worker._reload = begin_and_reload, fail_to_reload
main()
"""


def test_reload_that_fails_or_comes_too_early(settings: Settings, tmp_path: Path) -> None:
    """Before it serves, SIGHUP does nothing; after a failed reload the old service goes on."""
    program = tmp_path / "at_a_loss.py"
    program.write_text(AT_A_LOSS)
    with serving(settings, tmp_path / "log", program=(sys.executable, program)) as server:
        assert server.events("reload failed") == []
        server.process.send_signal(signal.SIGHUP)
        failed = server.wait_for_event("reload failed")
        assert failed["error"] == "RuntimeError: odd"
        assert server.get("/readyz") == "ready"


# The service of the first reload has a lifespan that does not start.
STARTED_IN_VAIN = """
from app.cli import main
from app.customers.completer import Completer

start, starts = Completer.start, []

def start_or_fail(self):
    starts.append(1)
    if len(starts) == 2:
        raise RuntimeError("can't start new thread")
    start(self)

Completer.start = start_or_fail
main()
"""


def test_reload_to_a_service_that_does_not_start(settings: Settings, tmp_path: Path) -> None:
    """The old service goes on, and can be reloaded later."""
    program = tmp_path / "in_vain.py"
    program.write_text(STARTED_IN_VAIN)
    with serving(settings, tmp_path / "log", program=(sys.executable, program)) as server:
        server.process.send_signal(signal.SIGHUP)
        failed = server.wait_for_event("reload failed")
        assert failed["reason"] == "The application failed to start; the log says why"
        assert server.get("/readyz") == "ready"
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_event("reloaded")
        assert server.get("/readyz") == "ready"


class Anything:
    """A service that starts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()


def test_port_taken_between_bind_and_listen(settings: Settings) -> None:
    """Both processes have bound it before either listens."""
    with socket.socket() as first, socket.socket() as second:
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        second.bind(first.getsockname())
        first.listen()
        edge: Any = Anything(settings)
        with pytest.raises(ConfigurationError, match="Cannot listen: Address already in use"):
            asyncio.run(worker._start(edge, [second]))
