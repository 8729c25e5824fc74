"""Where the service listens: TCP addresses, a Unix domain socket, or sockets from systemd."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.errors import ConfigurationError

# What binding an address that this machine does not have fails with, as ::1 without IPv6.
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def bind_tcp(host: str, port: int) -> list[socket.socket]:
    """Bind all addresses of a host.

    Args:
        host: a name or an address; an IPv6 address may be in brackets, and `::` is IPv4's, too.
        port: 0 takes a free one.

    Raises:
        ConfigurationError: the host is unknown, or the port cannot be used.
    """
    name = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigurationError(f"The host {host!r} is unknown: see --host") from None
    with contextlib.ExitStack() as cleanup:
        bound: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            # The free port that the first address was given is also that of the others.
            chosen = bound[0].getsockname()[1] if bound else port
            taken = f"Port {port} is taken: choose another with --port"
            with _explained(f"Cannot listen on {host} port {port}", taken):
                if sock := _bind(family, (address[0], chosen, *address[2:])):
                    bound.append(cleanup.enter_context(sock))
        if not bound:
            raise ConfigurationError(f"This machine does not have the address {host}: see --host")
        cleanup.pop_all()
    return bound


def _bind(family: int, address: tuple[str | int, ...]) -> socket.socket | None:
    """Bind one address; None if this machine does not have it."""
    with contextlib.ExitStack() as cleanup:
        try:
            sock = cleanup.enter_context(socket.socket(family, socket.SOCK_STREAM))
            # A restarted server takes the port though old connections to it are remembered;
            # elsewhere than on POSIX systems, two servers could share it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
            if family == socket.AF_INET6:
                # By default some systems take IPv4 at `::`, some do not, nor does asyncio.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(address)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise
        cleanup.pop_all()
    return sock


@contextlib.contextmanager
def bind_unix(path: Path) -> Iterator[socket.socket]:
    """Bind a Unix domain socket; its file is removed at the end of the block.

    Who may connect is decided by the permissions of its folder, as not all systems look at those of
    the file.

    Raises:
        ConfigurationError: the path cannot be used, or another process listens there.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigurationError("This system has no Unix domain sockets: leave --uds out")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        with _explained(f"Cannot listen on {path}", f"Another process listens on {path}"):
            _remove_abandoned(path)
            sock.bind(str(path))
            path.chmod(0o666)
            own = path.stat().st_ino
        try:
            yield sock
        finally:
            with contextlib.suppress(OSError):
                # By now it may be the file of another process that was started in our place.
                if path.stat().st_ino == own:
                    path.unlink()


def _remove_abandoned(path: Path) -> None:
    """Remove the socket of a process that was killed."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "it is a file that is not a socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
                path.unlink()


@contextlib.contextmanager
def _explained(failure: str, taken: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(taken) from None
        raise ConfigurationError(f"{failure}: {error.strerror or error}") from None


def shown(sockets: Sequence[socket.socket]) -> str:
    """Return the addresses of sockets, as callers use them."""
    return ", ".join(map(_shown, sockets))


def _shown(sock: socket.socket) -> str:
    address = sock.getsockname()
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
