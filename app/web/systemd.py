"""systemd's two protocols: sockets that it opens for us, and our state that we notify it of.

https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import contextlib
import os
import socket
from collections.abc import MutableMapping

from app.errors import ConfigurationError

# systemd passes its sockets from this file descriptor on.
FIRST_PASSED = 3


def passed_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Return the sockets that systemd has opened for this process; none without systemd.

    Args:
        environ: what systemd has told; it is removed, as it is not meant for child processes.

    Raises:
        ConfigurationError: they are not sockets that a server can accept connections from.
    """
    told = [environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")]
    if told[0] != str(os.getpid()) or not told[1].isdecimal():
        return []
    passed: list[socket.socket] = []
    with contextlib.ExitStack() as cleanup:
        for number in range(FIRST_PASSED, FIRST_PASSED + int(told[1])):
            try:
                passed.append(cleanup.enter_context(socket.socket(fileno=number)))
            except OSError as error:
                raise ConfigurationError(f"LISTEN_FDS: {error.strerror}") from None
            if not passed[-1].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise ConfigurationError("LISTEN_FDS: systemd passes a socket that does not listen")
        cleanup.pop_all()
    return passed


def notify(state: str, environ: MutableMapping[str, str]) -> None:
    """Notify systemd of a state, such as `READY=1`, if it asked for it.

    Args:
        state: lines of assignments.
        environ: may name systemd's socket.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    # `@` stands for the byte 0 that begins an abstract address.
    address = "\0" + path[1:] if path.startswith("@") else path
    # To serve is more important than to notify.
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        sock.sendto(state.encode(), address)
