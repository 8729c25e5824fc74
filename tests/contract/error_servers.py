"""Servers for the rows of the table of errors; each exchange with them is kept."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from contract.exchanges import Exchange, write
from support.server_process import serving
from support.serving import PATH, USER_PATH, Caller, Partner

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.storage.database import Database

TOKEN = {"coord_targeted_token": "tok_visa"}
NAMES = {"email": "ada@mail.example", "given_name": "Ada", "family_name": "Lovelace"}


class Operation(NamedTuple):
    """One operation, and a body that it takes, None where it takes none."""

    method: str
    path: str
    body: Any


SAVE = Operation("POST", PATH, TOKEN)
READ = Operation("GET", USER_PATH, None)
by_operation = pytest.mark.parametrize("operation", [SAVE, READ], ids=lambda one: one.method)


class Servers:
    """A database, a partner, and servers that share them."""

    def __init__(self, folder: Path, artifacts: Path) -> None:
        self.folder = folder
        self._kept = artifacts / "rows" / f"exchanges-{os.getpid()}.jsonl"
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(
            database_url=f"sqlite:///{folder}/users.db",
            stripe_secret_key="sk_test_rows",
            stripe_timeout=8.0,
            request_timeout=8.0,
        )
        self.database = Database(self.settings.database_url)
        self.database.migrate()
        self.partner = Partner(self.database)

    @contextlib.contextmanager
    def caller(self, standin: StandIn, **environ: str) -> Iterator[Caller]:
        """Yield a caller of a server of its own; each exchange is kept."""
        settings = dataclasses.replace(self.settings, stripe_api_base=standin.url)
        log = self.folder / f"{time.monotonic_ns()}.log"
        with (
            serving(settings, log, **environ) as server,
            Caller(server.url, self.partner) as caller,
        ):
            caller.http.event_hooks = {"response": [self._keep]}
            yield caller

    def _keep(self, response: httpx.Response) -> None:
        response.read()
        asked = response.request
        sent = b""
        # One that came in pieces is gone.
        with contextlib.suppress(httpx.StreamConsumed):
            sent = asked.read()
        write(
            Exchange.of(
                asked.method,
                str(asked.url),
                dict(asked.headers),
                sent,
                response.status_code,
                dict(response.headers),
                response.content,
            ),
            self._kept,
        )


def send(
    caller: Caller,
    operation: Operation,
    *,
    query: Any = None,
    headers: dict[str, str] | None = None,
    content: Any = None,
) -> httpx.Response:
    """Send a good request, but for what is given of it."""
    if query is None:
        query = {"access_key": caller.partner.access_key}
    body: dict[str, Any] = {"content": content}
    if operation.body and content is None:
        body = {"json": operation.body}
    given = bearer(caller.partner.jwt()) if headers is None else headers
    return caller.http.request(
        operation.method, operation.path, params=query, headers=given, **body
    )


def bearer(jwt: str, **more: str) -> dict[str, str]:
    """Return the header of a JWT, and more headers."""
    fields = {name.replace("_", "-"): value for name, value in more.items()}
    return {"Authorization": f"Bearer {jwt}", **fields}


def assert_answer(answer: httpx.Response, status: int, code: str, kind: str | None = None) -> None:
    """Hold an answer against a row; its kind is its code, but for codes that are not listed."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem["type"] == f"/v1/users/problems/{kind or code}"
