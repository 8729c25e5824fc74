"""`coord-users serve` with one worker and with several: where it listens, and what it logs."""

import os
import socket
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from support.needs import need
from support.server_process import COMMAND, ServerProcess, environ_of, serving
from support.serving import Caller, Partner

from app.config import Settings
from app.errors import ConfigurationError
from app.sandbox.standin.server import StandIn
from app.web import serve

BOTH = pytest.mark.parametrize("workers", ["1", "2"])


@BOTH
def test_start_is_logged(settings: Settings, tmp_path: Path, workers: str) -> None:
    """In one event, which shows the database's address without credentials."""
    with serving(settings, tmp_path / "log", WEB_CONCURRENCY=workers) as server:
        event = server.wait_for_event("serving")
    assert event["version"] == version("coord-users")
    assert event["address"] == server.url
    assert event["workers"] == int(workers)
    assert event["database"] == settings.database_url
    assert event["commits"] == "local"
    assert "no standby" in event["risk"]
    assert event["stripe_mode"] == "test"
    assert len(event["installation"]) == 32


@BOTH
def test_environment_sets_the_number_of_workers(
    settings: Settings, tmp_path: Path, workers: str
) -> None:
    """The command's option takes precedence."""
    words = () if workers == "2" else ("--workers", "1")
    with serving(settings, tmp_path / "log", *words, WEB_CONCURRENCY="2") as server:
        assert len(server.workers()) == (2 if workers == "2" else 0)


@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5", "65"])
def test_invalid_number_of_workers_is_refused(settings: Settings, value: str) -> None:
    environ = {**environ_of(settings), "WEB_CONCURRENCY": value}
    done = subprocess.run(
        [COMMAND, "serve"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: WEB_CONCURRENCY must be ")
    assert done.stderr.count("\n") == 1


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@BOTH
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses(settings: Settings, tmp_path: Path, host: str, workers: str) -> None:
    """`::` accepts IPv4 as well, and such peers are recognised: a proxy at 127.0.0.1 is trusted."""
    log = tmp_path / "log"
    with serving(settings, log, "--host", host, "--workers", workers) as server:
        port = server.url.rpartition(":")[2]
        assert server.wait_for_event("serving")["address"] == f"http://[::]:{port}"
        for number, address in enumerate(("127.0.0.1", "[::1]"), 1):
            answer = httpx.get(
                f"http://{address}:{port}/v1/nothing",
                headers={"X-Forwarded-For": f"192.0.2.{number}"},
                trust_env=False,
            )
            assert answer.status_code == 404
            assert server.wait_for_event("request", number)["client"] == f"192.0.2.{number}"


@BOTH
def test_unix_domain_socket(
    settings: Settings, partner: Partner, standin: StandIn, tmp_path: Path, workers: str
) -> None:
    """A proxy of another user may connect, and is trusted; its file is removed at the end."""
    path = tmp_path / "socket"
    abandoned = socket.socket(socket.AF_UNIX)
    abandoned.bind(str(path))
    abandoned.close()
    words = ("--uds", str(path), "--workers", workers)
    server = ServerProcess(settings, tmp_path / "log", *words)
    try:
        assert server.wait_for_event("serving")["address"] == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        transport = httpx.HTTPTransport(uds=str(path))
        with Caller("http://users.example", partner) as caller:
            caller.http = httpx.Client(base_url="http://users.example", transport=transport)
            answer = caller.post(
                {"coord_targeted_token": standin.new_token()},
                headers={"X-Forwarded-For": "192.0.2.7"},
            )
            assert answer.status_code == 200
        assert server.wait_for_event("request")["client"] == "192.0.2.7"
        server.stop()
    finally:
        server.process.kill()
        server.process.wait()
    assert not path.exists()


def listens(path: Path) -> bool:
    """Return whether a Unix domain socket accepts connections; its file is there a moment before.

    The flag is __SO_ACCEPTCON of Linux's include/linux/net.h, as proc_net(5) shows it.
    """
    sockets = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    return any(one[-1] == str(path) and one[3] == "00010000" for one in sockets)


@BOTH
def test_socket_activation(settings: Settings, tmp_path: Path, workers: str) -> None:
    """systemd passes a listening socket, and is notified of the start and of the stop."""
    activate = need("systemd-socket-activate", "apt-get install systemd")
    path, result = tmp_path / "socket", tmp_path / "notify"
    log = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, log.open("wb") as stderr:
        systemd.bind(str(result))
        systemd.settimeout(60)
        process = subprocess.Popen(
            [
                *(activate, f"--listen={path}", f"--setenv=NOTIFY_SOCKET={result}"),
                *(f"--setenv={name}={value}" for name, value in environ_of(settings).items()),
                *(COMMAND, "serve", "--workers", workers),
            ],
            stderr=stderr,
        )
        try:
            while not listens(path):
                assert process.poll() is None
            transport = httpx.HTTPTransport(uds=str(path))
            with httpx.Client(transport=transport, timeout=60) as client:
                # The first connection starts the service, and waits until it is up.
                assert client.get("http://x/readyz").text == "ready"
            assert systemd.recv(100) == b"READY=1"
            process.terminate()
            assert systemd.recv(100) == b"STOPPING=1"
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
    assert f'"address": "unix:{path}"' in log.read_text()
    # It is systemd's.
    assert path.exists()


def test_system_that_cannot_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, one worker serves in the process itself."""
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ConfigurationError, match="set --workers to 1"):
        serve.serve(None, Settings(workers=2), "127.0.0.1", 0)  # type: ignore[arg-type]


def test_imports_need_nothing_of_linux() -> None:
    """So that the sandbox runs on macOS and Windows. Here only the imports are tested."""
    program = (
        "import os, select, signal, socket\n"
        "del os.fork, select.poll, select.POLLRDHUP, socket.AF_UNIX, signal.pthread_sigmask\n"
        "del signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD\n"
        "import app.cli\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
