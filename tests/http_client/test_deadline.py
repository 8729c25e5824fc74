"""One deadline holds from resolving the name to the last byte of the body."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pycurl
import pytest
from http_client.calls import ask, failure
from http_client.conftest import Serve
from http_client.test_failures import black_hole
from support.needs import need
from support.raw_server import OK, saying

from app.http_client import HttpClient, NoResponse, handle

# How much later than its deadline an exchange may end on a busy machine, in seconds.
SLACK = 1.0
NAME_SERVER = Path(__file__).parent / "slow_name_server.py"


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, list[str]], str]:
    """Return a function that gives a name its addresses, and returns a URL with the name."""

    def give(port: int, addresses: list[str]) -> str:
        entry = f"stripe.test:{port}:{','.join(addresses)}"
        monkeypatch.setattr(handle, "OPTIONS", {**handle.OPTIONS, pycurl.RESOLVE: [entry]})
        return f"http://stripe.test:{port}/"

    return give


@pytest.mark.measures
@pytest.mark.parametrize("interval", [0.02, 60.0], ids=["drips", "hangs"])
def test_body_that_takes_too_long(client: HttpClient, serve: Serve, interval: float) -> None:
    """Whether nothing comes or a byte every now and then."""
    over = threading.Event()

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not over.wait(interval):
            sock.sendall(b"x")

    server = serve(talk)
    began = time.monotonic()
    assert str(failure(client, server.url, 0.3)) == "timed out receiving the response"
    assert time.monotonic() - began < 0.3 + SLACK
    over.set()


@pytest.mark.measures
def test_deadline_of_a_block_holds_for_all_its_exchanges(client: HttpClient, serve: Serve) -> None:
    """The second exchange has what the first has left."""
    server = serve(lambda sock: time.sleep(0.3) or sock.sendall(OK))
    began = time.monotonic()
    with client.within(0.5):
        client.request("GET", server.url, {})
        with pytest.raises(NoResponse):
            client.request("GET", server.url, {})
    assert time.monotonic() - began < 0.5 + SLACK


@pytest.mark.measures
@pytest.mark.parametrize(("seconds", "to_connect", "expected"), [(0.6, 5.0, 0.6), (25.0, 0.6, 0.6)])
def test_six_addresses_that_do_not_answer(
    client: HttpClient,
    resolve: Callable[[int, list[str]], str],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    to_connect: float,
    expected: float,
) -> None:
    """All of them share the time for connecting."""
    hosts = [f"127.0.0.{number}" for number in range(2, 8)]
    to_connect_ms = {pycurl.CONNECTTIMEOUT_MS: int(to_connect * 1000)}
    monkeypatch.setattr(handle, "OPTIONS", {**handle.OPTIONS, **to_connect_ms})
    with black_hole(*hosts) as port:
        began = time.monotonic()
        stuck = failure(client, resolve(port, hosts), seconds)
        assert expected <= time.monotonic() - began < expected + SLACK
    assert str(stuck) == "timed out connecting"
    assert stuck.was_sent is False


@pytest.mark.measures
def test_one_address_of_several_answers(
    client: HttpClient, serve: Serve, resolve: Callable[[int, list[str]], str]
) -> None:
    """The next one is tried while the first does not answer (RFC 8305, section 5)."""
    server = serve(saying(OK), None, "127.0.0.9")
    began = time.monotonic()
    with black_hole("127.0.0.2", port=server.port):
        assert ask(client, resolve(server.port, ["127.0.0.2", "127.0.0.9"])) == b"ok"
    assert time.monotonic() - began < SLACK


@pytest.mark.measures
def test_name_server_that_does_not_answer(tmp_path: Path) -> None:
    """Neither the exchange nor the end of its handle waits for it."""
    bwrap = need("bwrap", "apt-get install bubblewrap")
    # It could write nothing of what coverage finds: all is mounted read-only.
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.1\n")
    ended = subprocess.run(
        [
            *(bwrap, "--unshare-user", "--unshare-net", "--uid", "0"),
            *("--cap-add", "CAP_NET_BIND_SERVICE", "--proc", "/proc", "--dev", "/dev"),
            *("--ro-bind", "/", "/", "--ro-bind", str(resolv_conf), "/etc/resolv.conf"),
            *(sys.executable, str(NAME_SERVER)),
        ],
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    reason, was_sent, seconds = ended.stdout.split("|")
    assert (reason, was_sent) == ("timed out resolving the host name", "False")
    assert 0.3 <= float(seconds) < 0.3 + SLACK
