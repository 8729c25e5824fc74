"""Where servers are measured: each with a fresh database and a stub of Stripe of its own."""

import contextlib
import json
import shutil
import sqlite3
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.callers import AUDIENCE, ISSUER, SECRET_KEY, Callers
from bench.load import Load, LoadResult
from bench.processes import LOAD_CORE, SERVER_CORE, Process, free_port, tool

HERE = Path(__file__).parent
PEERS = HERE / "peers"
OURS, FLOOR = "ours", "floor"
# In the order in which they take their turns.
LABELS = {
    OURS: "Coord Users API",
    "fastapi_def": "FastAPI, def",
    "fastapi_async": "FastAPI, async def",
    "flask_threads": "Flask, jsonschema, gunicorn",
    FLOOR: "the floor: no framework, no SDK",
}
HAND_WRITTEN = ("fastapi_def", "fastapi_async", "flask_threads")
# Enough for any run below; gunicorn and uvicorn would ask for as much.
FLASK_THREADS = 64


class WrongAnswer(Exception):
    """Raised when what was measured did not do its job, so that its speed says nothing."""


@dataclass
class Running:
    """A server that is ready, and its Stripe.

    Attributes:
        ready_after: seconds from its start.
        database: the SQLite file; None on PostgreSQL.
    """

    name: str
    process: Process
    port: int
    stub_port: int
    ready_after: float
    database: Path | None

    def stripe(self, path: str = "/calls") -> dict[str, int]:
        """Return what Stripe was asked, or set its delay."""
        url = f"http://127.0.0.1:{self.stub_port}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            actual: dict[str, int] = json.loads(answer.read())
        return actual


class Arena:
    """Starts servers, sends load, and checks what came of it.

    Args:
        folder: takes everything.
        callers: the users.
        wrk: where it is; empty to use our own load.
    """

    def __init__(self, folder: Path, callers: Callers, wrk: str) -> None:
        self.folder = folder
        self.callers = callers
        self.wrk = wrk
        self._starts = 0

    @contextlib.contextmanager
    def serving(
        self,
        name: str,
        *,
        delay: float = 0.0,
        database_url: str = "",
        cores: set[int] = SERVER_CORE,
        workers: int = 1,
        under: Sequence[str] = (),
        start: Sequence[str] = (),
        **environ: str,
    ) -> Iterator[Running]:
        """Run one server; once it has ended, see that its rows are what Stripe was asked.

        Args:
            name: one of `LABELS`.
            delay: how long Stripe takes, in seconds.
            database_url: in the place of a fresh SQLite file.
            cores: where it may run.
            workers: how many processes it has.
            under: a command that runs the server, such as valgrind.
            start: in the place of `coord-users` or `gunicorn`.
            environ: further variables.

        Raises:
            WrongAnswer: Stripe was asked more or less often than users were stored.
        """
        self._starts += 1
        where = self.folder / f"{self._starts}-{name}"
        where.mkdir()
        database = None if database_url else where / "users.db"
        if database and name == OURS:
            shutil.copy(self.callers.template, database)
        port = free_port()
        with (
            Process([sys.executable, str(HERE / "stub.py")], LOAD_CORE) as stub,
            Process(
                [*under, *_command(name, port, workers, start)],
                cores,
                environ={
                    "ISSUER": ISSUER,
                    "AUDIENCE": AUDIENCE,
                    "PUBLIC_KEY": str(self.callers.public_key),
                    "ACCESS_KEY": self.callers.access_key,
                    "STRIPE_SECRET_KEY": SECRET_KEY,
                    "STRIPE_API_BASE": f"http://127.0.0.1:{(stub_port := stub.port())}",
                    "DATABASE_URL": database_url or f"sqlite:///{database}",
                    **environ,
                },
                log=where / "log.txt",
            ) as process,
        ):
            ready_after = process.wait_for(port, "/readyz" if name == OURS else "/")
            running = Running(name, process, port, stub_port, ready_after, database)
            running.stripe(f"/delay/{delay}")
            yield running
            process.end()
            if database:
                _check_rows(running, _stored(name, database))

    def load(self, running: Running, seconds: float, **load: Any) -> LoadResult:
        """Send load by our own callers, who keep each answer.

        Raises:
            WrongAnswer: an answer was neither right nor a proper 503.
        """
        file = self.folder / "load.json"
        actual = Load(running.port, str(self.callers.file), seconds=seconds, **load)
        file.write_text(json.dumps(asdict(actual)))
        with Process([sys.executable, str(HERE / "load.py"), str(file)], LOAD_CORE) as process:
            result = LoadResult(**json.loads(process.finished(seconds + 90)))
        if result.bad:
            raise WrongAnswer(f"{running.name}: {result.bad} answers were wrong: {result.said}")
        return result

    def press(
        self, running: Running, connections: int, seconds: int, first: int, access_key: str = ""
    ) -> float:
        """Send as many requests as are answered, and return how many a second that is.

        Raises:
            WrongAnswer: an answer was not a 200 with the right customer.
        """
        if not self.wrk:
            actual = self.load(
                running, seconds, connections=connections, first=first, access_key=access_key
            )
            if actual.seconds.keys() - {"200"}:
                raise WrongAnswer(f"{running.name}: {sorted(actual.seconds)} were answered")
            return len(actual.seconds["200"]) / actual.took
        command = [self.wrk, "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "60s"]
        command += ["-s", str(HERE / "load.lua"), f"http://127.0.0.1:{running.port}", "--"]
        command += [str(self.callers.file), str(first), access_key]
        with Process(command, LOAD_CORE) as process:
            output = process.finished(seconds + 90)
        line = next(line for line in output.splitlines() if line.startswith("RESULT "))
        result = json.loads(line.removeprefix("RESULT "))
        if result["bad"] or result["socket_errors"] or result["timeouts"] or result["exhausted"]:
            raise WrongAnswer(f"{running.name}: {result}")
        return float(result["answers"] / result["seconds"])


def _command(name: str, port: int, workers: int, start: Sequence[str]) -> list[str]:
    if name == OURS:
        return [
            *(start or [tool("coord-users")]),
            "serve",
            "--port",
            str(port),
            "--workers",
            str(workers),
        ]
    if name == FLOOR:
        return [sys.executable, str(PEERS / "floor.py"), str(port)]
    if name == "flask_threads":
        bind = ["--bind", f"127.0.0.1:{port}", "--chdir", str(PEERS), "--backlog", "2048"]
        threads = ["--worker-class", "gthread", "--threads", str(FLASK_THREADS)]
        return [
            *(start or [tool("gunicorn")]),
            *bind,
            *threads,
            "--keep-alive",
            "75",
            f"{name}:app",
        ]
    quiet = ["--no-access-log", "--log-level", "warning"]
    bind = ["--port", str(port), "--app-dir", str(PEERS), *quiet]
    return [tool("uvicorn"), *bind, f"{name}:app"]


def _stored(name: str, database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "select count(distinct stripe_customer_id) from users"
        (rows,) = connection.execute(query).fetchone()
        if name == OURS:
            # Where it could not be told in time what Stripe did, that is known, and settled later.
            query = "select count(*) from users where stripe_customer_id is null and lease_until"
            rows += connection.execute(f"{query} is not null").fetchone()[0]
    return int(rows)


def _check_rows(running: Running, rows: int) -> None:
    """One call to Stripe and one customer for each user, and no other."""
    actual = running.stripe()
    if not actual["calls"] == actual["customers"] == rows:
        raise WrongAnswer(f"{running.name}: Stripe tells {actual}, and {rows} users are stored")
