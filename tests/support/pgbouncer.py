"""A real PgBouncer in front of the tests' PostgreSQL."""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support.needs import need
from support.postgresql import PostgreSql

DEADLINE = 30.0
# The defaults, but for the addresses. `any` asks for no password.
SETTINGS = """
[databases]
* = host={host} user=postgres pool_size={pool_size}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


@contextlib.contextmanager
def pgbouncer(postgres: PostgreSql, mode: str, pool_size: int = 20) -> Iterator[str]:
    """Run PgBouncer inside the block; yield the start of a URL, to which a database is appended."""
    program = need("pgbouncer", "apt-get install pgbouncer")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(
            SETTINGS.format(host=postgres.socket_folder, port=port, mode=mode, pool_size=pool_size)
        )
        process = subprocess.Popen(
            [program, "-q", str(settings)], user=postgres.user, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(port, process)
            yield f"postgresql://postgres@127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait(DEADLINE)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + DEADLINE
    while True:
        assert process.poll() is None, "PgBouncer ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < until, "PgBouncer does not listen"
            time.sleep(0.02)
        else:
            return
