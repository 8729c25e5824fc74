"""Marked secrets go down every path, at the most verbose level, and are found nowhere."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from server_process import serving
from serving import Caller, Partner

from app.config import Settings
from app.database import Database
from app.standin.server import StandIn

STRIPE_KEY = "sk_test_MARKEDstripe4eC39HqLyjWDarjtT1zdp7dc"
UNKNOWN_KEY = "coord_ak_" + "MARKEDkey" * 4 + "1234567"
# Where even the frameworks tell all they know.
VERBOSE = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from app import logs
def verbose(log_format, configure=logs.configure):
    configure(log_format)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
logs.configure = verbose
from app.cli import main
main()
"""


def paths(caller: Caller, standin: StandIn) -> list[httpx.Response]:
    """Go down every path: successes, refusals, troubles, nonsense."""
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
    return [
        *(caller.save(token) for token in tokens),
        caller.save(tokens[0], "user-2"),
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
    """Give the arguments of a process, and of its children."""
    found = Path(f"/proc/{pid}/cmdline").read_bytes()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += Path(f"/proc/{child}/cmdline").read_bytes()
    return found


@pytest.fixture
def verbose(tmp_path: Path) -> Path:
    """Give a program that logs all that there is to log."""
    program = tmp_path / "verbose.py"
    program.write_text(VERBOSE)
    return program


@pytest.mark.parametrize("break_it", [False, True], ids=["", "with crashes"])
def test_secrets_are_found_nowhere(
    settings: Settings,
    partner: Partner,
    standin: StandIn,
    database: Database,
    tmp_path: Path,
    verbose: Path,
    break_it: bool,
) -> None:
    log = tmp_path / "log"
    settings = replace(settings, stripe_secret_key=STRIPE_KEY)
    program = (sys.executable, verbose)
    with (
        serving(settings, log, program=program) as server,
        Caller(server.url, partner) as caller,
    ):
        if break_it:
            with database.writing() as connection:
                connection.exec_driver_sql("alter table users rename to elsewhere")
        answers = paths(caller, standin)
        metrics = server.get("/metrics")
        arguments = command_lines(server.process.pid)
    secrets = {
        STRIPE_KEY,
        UNKNOWN_KEY,
        partner.access_key,
        "MARKED",
        *(answer.request.headers.get("authorization", "") or "-none-" for answer in answers),
        *(token for token in standin_tokens(standin)),
    }
    told = log.read_text() + metrics + arguments.decode()
    assert '"event": "request"' in told
    assert "debug" in told
    for answer in answers:
        text = str(answer.headers) + answer.text
        if answer.status_code == 200:
            text = text.replace(answer.request.content.decode()[25:-2], "")
        told += text
    assert [secret for secret in secrets if secret.removeprefix("Bearer ") in told] == []


def standin_tokens(standin: StandIn) -> list[str]:
    return list(standin._app.app.extensions["account"]._state["tokens"])


def test_database_keeps_no_token_once_it_is_settled(
    settings: Settings, partner: Partner, standin: StandIn, tmp_path: Path
) -> None:
    """Nor key, nor JWT: in the file, in its freed pages, in its write-ahead log."""
    folder = Path(settings.database_url.removeprefix("sqlite:///")).parent
    tokens: list[str] = []
    with serving(settings, tmp_path / "log") as server, Caller(server.url, partner) as caller:
        for number in range(30):
            tokens += [standin.new_token(), standin.new_token(number="4000000000000002")]
            assert caller.save(tokens[-2], f"user-{number}").status_code == 200
            assert caller.save(tokens[-1], f"user-{number}").status_code == 402
        files = [folder / name for name in os.listdir(folder) if name.startswith("users.db")]
        content = b"".join(file.read_bytes() for file in files)
        jwt = partner.jwt()
    assert len(files) >= 2
    secrets = [*tokens, partner.access_key, settings.stripe_secret_key, jwt]
    assert [secret for secret in secrets if secret.encode() in content] == []


def test_token_of_an_open_attempt_is_sealed(
    settings: Settings, partner: Partner, standin: StandIn, tmp_path: Path
) -> None:
    """While nobody knows what Stripe did it must be kept, but no thief of the file can read it."""
    folder = Path(settings.database_url.removeprefix("sqlite:///")).parent
    token = "tok_standin_unavailable"
    with serving(settings, tmp_path / "log") as server, Caller(server.url, partner) as caller:
        assert caller.save(token).status_code == 503
        files = [folder / name for name in os.listdir(folder) if name.startswith("users.db")]
        assert not any(token.encode() in file.read_bytes() for file in files)
