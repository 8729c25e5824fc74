"""systemd's protocols; `tests/web/test_serve.py` runs the service with systemd's own program."""

import os
import socket
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.web import systemd


@pytest.mark.parametrize(
    "environ",
    [
        {},
        # It is for another process: systemd's variables were inherited.
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid())},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"},
    ],
)
def test_no_socket_is_passed(environ: dict[str, str]) -> None:
    """The variables are removed from the environment of child processes all the same."""
    environ = {**environ, "PATH": "/bin"}
    assert systemd.passed_sockets(environ) == []
    assert environ == {"PATH": "/bin"}


def test_unusable_socket_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one line that names the variable."""
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    with (tmp_path / "file").open("wb") as file:
        monkeypatch.setattr(systemd, "FIRST_PASSED", os.dup(file.fileno()))
        with pytest.raises(ConfigurationError, match="LISTEN_FDS: "):
            systemd.passed_sockets(dict(environ))
        os.close(systemd.FIRST_PASSED)
    with socket.socket() as sock:
        monkeypatch.setattr(systemd, "FIRST_PASSED", os.dup(sock.fileno()))
        with pytest.raises(ConfigurationError, match="a socket that does not listen"):
            systemd.passed_sockets(dict(environ))


def test_state_without_a_notify_socket_is_not_sent() -> None:
    systemd.notify("READY=1", {})
    systemd.notify("READY=1", {"NOTIFY_SOCKET": "/nonexistent"})


def test_state_to_an_abstract_address() -> None:
    """As systemd uses in containers."""
    name = f"coord-users-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        systemd.notify("READY=1", {"NOTIFY_SOCKET": f"@{name}"})
        assert listening.recv(100) == b"READY=1"
