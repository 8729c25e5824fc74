"""Marked secrets are sent down every code path, at the most verbose level, and appear nowhere."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from jwt import encode
from support.server_process import serving
from support.serving import AUDIENCE, Caller, Partner

from app.config import Settings
from app.identity import registry
from app.identity.jwks import KeySource
from app.sandbox.standin.server import StandIn
from app.storage.database import Database

STRIPE_KEY = "sk_test_MARKEDstripe4eC39HqLyjWDarjtT1zdp7dc"
UNKNOWN_KEY = "coord_ak_" + "MARKEDkey" * 4 + "1234567"
SHARED_SECRET = b"MARKED shared secret of an issuer, long enough"
# The frameworks log at their most verbose level; `{plant}` is what a careless change would add.
VERBOSE = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from app.telemetry import logs
def verbose(log_format, configure=logs.configure):
    configure(log_format)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger("uvicorn.error").setLevel(5)
logs.configure = verbose
{plant}
from app.cli import main
main()
"""
# An unexpected error that quotes its argument, as Python's own often do.
CRASH = """
from app.customers import save_card
def crash(self, user, token, *more):
    raise ValueError(f"{token} of {user.subject}") from KeyError(token)
save_card.Customers.save_card = crash
"""
# What each place would look like if it leaked.
LEAKS = {
    "log": """
from app import handlers
def tell(services=handlers.services):
    print("given", sys._getframe(1).f_locals["stripe_info"], file=sys.stderr)
    return services()
handlers.services = tell
""",
    "metrics": """
from app.telemetry import metrics
called = metrics.Metrics.stripe_called
def tell(self, call, outcome, seconds):
    called(self, "tok_MARKEDmetric", outcome, seconds)
metrics.Metrics.stripe_called = tell
""",
    "answer": """
from app import errors
errors.InvalidRequest.detail = "tok_MARKEDanswer"
class Quoting(errors.InvalidRequest):
    def __init__(self, detail=None):
        super().__init__("MARKED " + (detail or ""))
errors.InvalidRequest = Quoting
""",
    "arguments": """
sys.argv.append("--host=127.0.0.1")
import subprocess
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)", "tok_MARKEDargument"])
""",
}


def paths(caller: Caller, standin: StandIn) -> list[httpx.Response]:
    """Send requests down every path: successes, refusals, failures, malformed requests."""
    tokens = [
        standin.new_token(),
        standin.new_token(number="4000000000000002"),
        "tok_MARKEDunknown",
        "tok_standin_forbidden",
        "tok_chargeDeclinedExpiredCard",
    ]
    marked = "tok_MARKEDtoken"
    jwt = caller.partner.jwt("user-2")
    forged = jwt[:-8] + "MARKED00"
    shared = {"iss": "https://shared.example/", "aud": AUDIENCE, "sub": "user-1", "exp": 2**33}
    return [
        *(caller.save(token) for token in tokens),
        caller.save(tokens[0], "user-2"),
        caller.post(
            {"coord_targeted_token": marked},
            jwt=encode(shared, SHARED_SECRET, algorithm="HS256", headers={"kid": "k1"}),
        ),
        caller.save(marked, exp=1),
        caller.save(marked, is_test_user=True),
        caller.save("tok_standin_unavailable", "user-3"),
        caller.post({"coord_targeted_token": marked + "!"}),
        caller.post({"coord_targeted_token": marked, marked: marked}),
        caller.post({"coord_targeted_token": marked}, access_key=UNKNOWN_KEY),
        caller.post({"coord_targeted_token": marked}, jwt=forged),
        caller.post({"coord_targeted_token": marked}, headers={"X-Request-Id": marked + "!"}),
        caller.http.post(f"/v1/users/{marked}", params={"access_key": UNKNOWN_KEY}),
        caller.http.put(
            "/v1/users/user/current/stripe_info", headers={"Authorization": f"Bearer {forged}"}
        ),
        caller.http.post(
            "/v1/users/user/current/stripe_info",
            params={"access_key": caller.partner.access_key, marked: marked},
            content=b'{"coord_targeted_token": "' + marked.encode() + b'"',
            headers={"Authorization": f"Bearer {forged}", "Content-Type": "application/json"},
        ),
    ]


def command_lines(pid: int) -> bytes:
    """Return the arguments of a process and of its children."""
    found = Path(f"/proc/{pid}/cmdline").read_bytes()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += Path(f"/proc/{child}/cmdline").read_bytes()
    return found


class Search:
    """A service at its most verbose, called down every path, and the secrets found in its output.

    Args:
        settings: of the service.
        partner: calls it.
        standin: answers it.
        folder: takes its program and log.
    """

    def __init__(
        self, settings: Settings, partner: Partner, standin: StandIn, folder: Path
    ) -> None:
        self._settings = replace(settings, stripe_secret_key=STRIPE_KEY)
        self._partner = partner
        self._standin = standin
        self._folder = folder
        self.log = ""
        self.statuses: set[int] = set()

    def found(
        self, log_format: str, plant: str = "", meanwhile: Callable[[], None] = lambda: None
    ) -> list[str]:
        """Return the secrets that appear in any output.

        Args:
            log_format: of the log.
            plant: statements that the program runs before all else.
            meanwhile: what happens to the service before it is called.
        """
        log, program = self._folder / "log", self._folder / "verbose.py"
        program.write_text(VERBOSE.format(plant=plant))
        with (
            serving(
                self._settings, log, program=(sys.executable, program), LOG_FORMAT=log_format
            ) as server,
            Caller(server.url, self._partner) as caller,
        ):
            meanwhile()
            answers = paths(caller, self._standin)
            metrics = server.get("/metrics")
            arguments = command_lines(server.process.pid)
        self.log = log.read_text()
        self.statuses = {answer.status_code for answer in answers}
        result = self.log + metrics + arguments.decode()
        for answer in answers:
            text = str(answer.headers) + answer.text
            if answer.status_code == 200:
                text = text.replace(answer.request.content.decode()[25:-2], "")
            result += text
        secrets = {
            STRIPE_KEY,
            UNKNOWN_KEY,
            self._partner.access_key,
            "MARKED",
            *(answer.request.headers.get("authorization", "") or "-none-" for answer in answers),
            *standin_tokens(self._standin),
        }
        return [secret for secret in secrets if secret.removeprefix("Bearer ") in result]


@pytest.fixture
def search(settings: Settings, partner: Partner, standin: StandIn, tmp_path: Path) -> Search:
    return Search(settings, partner, standin, tmp_path)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_appears_anywhere(search: Search, database: Database, log_format: str) -> None:
    """In no log, metric, response or argument, at the frameworks' most verbose level."""
    source = KeySource(shared_secret=SHARED_SECRET)
    registry.add_registration(database, "Acme", "https://shared.example/", [AUDIENCE], source)
    assert search.found(log_format) == []
    assert search.statuses >= {200, 400, 401, 402, 403, 404, 405, 422, 503}
    for verbose in ("request_id", "SELECT", "INSERT INTO", "HTTP connection made", "debug"):
        assert verbose in search.log


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_error_that_quotes_a_secret_is_logged_without_it(search: Search, log_format: str) -> None:
    """500: the log names the exception and where it was raised, without its text."""
    assert search.found(log_format, CRASH) == []
    assert 500 in search.statuses
    assert "ValueError" in search.log


def test_database_error_is_logged_without_secrets(search: Search, database: Database) -> None:
    def fail() -> None:
        with database.writing() as connection:
            connection.exec_driver_sql("alter table users rename to elsewhere")

    assert search.found("json", meanwhile=fail) == []
    assert 503 in search.statuses
    assert 200 not in search.statuses


@pytest.mark.parametrize("place", LEAKS)
def test_search_finds_a_planted_secret(search: Search, place: str) -> None:
    """So an empty result of the search is evidence."""
    assert search.found("json", LEAKS[place]) != []


def standin_tokens(standin: StandIn) -> list[str]:
    return list(standin.account.state.tokens)


def on_disk(database: Database, words: list[str]) -> list[str]:
    """Return the words found on the disk: in rows, in freed pages, in write-ahead logs."""
    with database.reading() as connection:
        if connection.dialect.name == "sqlite":
            path = Path(str(connection.engine.url.database))
            files = list(path.parent.glob(path.name + "*"))
            assert len(files) >= 2
        else:
            folder = Path(connection.exec_driver_sql("show data_directory").scalar_one())
            files = [file for file in folder.rglob("*") if file.is_file()]
    found: set[str] = set()
    for file in files:
        # PostgreSQL takes files away as it likes.
        with contextlib.suppress(FileNotFoundError):
            content = file.read_bytes()
            found |= {word for word in words if word.encode() in content}
    return sorted(found)


@pytest.mark.both_databases
def test_database_keeps_no_token_once_it_is_settled(
    settings: Settings, partner: Partner, standin: StandIn, database: Database, tmp_path: Path
) -> None:
    """Nor an access key or a JWT: in rows, in freed pages, in write-ahead logs."""
    tokens: list[str] = []
    with serving(settings, tmp_path / "log") as server, Caller(server.url, partner) as caller:
        for number in range(10):
            tokens += [standin.new_token(), standin.new_token(number="4000000000000002")]
            assert caller.save(tokens[-2], f"user-{number}-is-stored").status_code == 200
            assert caller.save(tokens[-1], f"user-{number}-is-stored").status_code == 402
        secrets = [*tokens, partner.access_key, settings.stripe_secret_key, partner.jwt()]
        assert on_disk(database, [*secrets, "user-7-is-stored"]) == ["user-7-is-stored"]


@pytest.mark.both_databases
def test_token_of_an_open_attempt_is_encrypted(
    settings: Settings, partner: Partner, database: Database, tmp_path: Path
) -> None:
    """The token is needed while the outcome is unknown; the file alone does not reveal it."""
    token = "tok_standin_unavailable"
    with serving(settings, tmp_path / "log") as server, Caller(server.url, partner) as caller:
        assert caller.save(token, "user-is-stored").status_code == 503
        assert on_disk(database, [token, "user-is-stored"]) == ["user-is-stored"]
