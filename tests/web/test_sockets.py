"""Where the service listens, and the message if it cannot."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConfigurationError
from app.web import sockets


@pytest.fixture
def closing() -> Iterator[list[socket.socket]]:
    """Return a list of sockets that are closed at the end of the test."""
    opened: list[socket.socket] = []
    yield opened
    for sock in opened:
        sock.close()


def test_all_addresses_of_a_host_have_one_port(
    monkeypatch: pytest.MonkeyPatch, closing: list[socket.socket]
) -> None:
    """A free port if none is given; addresses that this machine lacks are skipped."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
        for address in ("127.0.0.1", "192.0.2.1", "127.0.0.2", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    closing += sockets.bind_tcp("users.example", 0)
    port = closing[0].getsockname()[1]
    assert [sock.getsockname() for sock in closing] == [("127.0.0.1", port), ("127.0.0.2", port)]
    assert sockets.shown(closing) == f"http://127.0.0.1:{port}, http://127.0.0.2:{port}"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no such host", "The host 'no such host' is unknown"),
        ("a" * 64 + ".example", "is unknown"),
        ("", "The host '' is unknown"),
        ("192.0.2.1", "This machine does not have the address 192.0.2.1"),
    ],
)
def test_host_that_cannot_be_used(host: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        sockets.bind_tcp(host, 0)


def test_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError) as raised:
            sockets.bind_tcp("127.0.0.1", port)
    assert str(raised.value) == f"Port {port} is taken: choose another with --port"


def test_port_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ports below 1024 are without a capability."""

    def bind(*_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(sockets, "_bind", bind)
    with pytest.raises(ConfigurationError, match="port 80: Permission denied"):
        sockets.bind_tcp("127.0.0.1", 80)


def test_file_of_a_socket_is_removed(tmp_path: Path) -> None:
    """Unless another process has replaced it, or it is already gone."""
    path = tmp_path / "socket"
    with sockets.bind_unix(path) as sock:
        assert sockets.shown([sock]) == f"unix:{path}"
        assert path.is_socket()
    assert not path.exists()
    with sockets.bind_unix(path), sockets.bind_unix(path):
        # The first one does not listen yet, so it seems to be abandoned.
        assert path.is_socket()
    assert not path.exists()


def test_file_of_another_socket_is_left(tmp_path: Path) -> None:
    path, other = tmp_path / "socket", tmp_path / "other"
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(other))
        with sockets.bind_unix(path):
            other.rename(path)
        assert path.is_socket()


def test_path_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is not overwritten, and a socket is not taken from a process that listens on it."""
    file, taken = tmp_path / "file", tmp_path / "taken"
    file.write_text("precious")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(taken))
        listening.listen()
        for path, reason in (
            (file, "Cannot listen on {}: it is a file that is not a socket"),
            (taken, "Another process listens on {}"),
            (tmp_path / "nowhere" / "socket", "Cannot listen on {}: No such file or directory"),
            (tmp_path / ("x" * 200), "Cannot listen on {}: AF_UNIX path too long"),
        ):
            with pytest.raises(ConfigurationError) as raised, sockets.bind_unix(path):
                pass
            assert str(raised.value) == reason.format(path)
    assert file.read_text() == "precious"
    monkeypatch.delattr(socket, "AF_UNIX")
    with (
        pytest.raises(ConfigurationError, match="no Unix domain sockets"),
        sockets.bind_unix(taken),
    ):
        pass
