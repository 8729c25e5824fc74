"""The command: results on stdout, everything else on stderr, exit status 0 or not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.command import run
from support.server_process import serving
from support.serving import AUDIENCE, Caller, Partner

from app.config import Settings
from app.sandbox.standin.server import StandIn

KEY = "sk_test_cli"


def jwks_file(folder: Path) -> str:
    """Write a JWK Set of one public key (RFC 8037, appendix A.2)."""
    file = folder / "jwks.json"
    key = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "k1",
        "alg": "EdDSA",
    }
    file.write_text(json.dumps({"keys": [key]}))
    return str(file)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sandbox"],
        ["serve"],
        ["migrate"],
        ["partner"],
        ["partner", "add"],
        ["partner", "update"],
        ["partner", "disable"],
        ["partner", "enable"],
        ["partner", "list"],
        ["access-key"],
        ["access-key", "create"],
        ["access-key", "list"],
        ["access-key", "revoke"],
        ["users"],
        ["reconcile"],
        ["installations"],
        ["import"],
        ["check"],
    ],
)
def test_help(words: list[str]) -> None:
    """Each command has a help text."""
    done = run(*words, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: coord-users")
    assert done.stderr == ""


def test_migrate_register_and_create_an_access_key(tmp_path: Path) -> None:
    """The key is printed alone on stdout, and is not in the database."""
    url = f"sqlite:///{tmp_path}/users.db"
    assert run("migrate", DATABASE_URL=url).returncode == 0
    added = run(
        *("partner", "add", "Acme", "--issuer", "https://acme.example/"),
        *("--audience", AUDIENCE, "--jwks-file", jwks_file(tmp_path)),
        DATABASE_URL=url,
    )
    assert (added.returncode, added.stdout) == (0, ""), added.stderr
    listed = run("partner", "list", DATABASE_URL=url).stdout
    assert "Acme" in listed
    assert "https://acme.example/" in listed
    key = run("access-key", "create", "Acme", DATABASE_URL=url).stdout
    assert key.startswith("coord_ak_")
    assert key.count("\n") == 1
    listed = run("access-key", "list", DATABASE_URL=url).stdout
    assert key.strip() not in listed
    assert key.strip().encode() not in (tmp_path / "users.db").read_bytes()
    assert run("access-key", "revoke", "1", DATABASE_URL=url).returncode == 0


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (["serve"], {}, "STRIPE_SECRET_KEY is not set"),
        (["serve"], {"STRIPE_SECRET_KEY": KEY, "MAX_IN_FLIGHT": "x"}, "MAX_IN_FLIGHT"),
        (["serve"], {"STRIPE_SECRET_KEY": KEY}, "not migrated"),
        (["serve", "--workers", "2"], {"STRIPE_SECRET_KEY": KEY}, "not migrated"),
        (["users"], {}, "not migrated"),
        (["migrate"], {"DATABASE_URL": "postgresql://127.0.0.1:9/x"}, "cannot be used"),
        (["migrate"], {"DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "cannot be used"),
        (["access-key", "create", "Nobody"], {}, "not migrated"),
    ],
)
def test_error_is_one_line_on_stderr(
    tmp_path: Path, words: list[str], environ: dict[str, str], said: str
) -> None:
    """Nothing on stdout, and no traceback."""
    url = {"DATABASE_URL": f"sqlite:///{tmp_path}/users.db"}
    done = run(*words, **{**url, **environ})
    assert done.returncode != 0
    assert done.stdout == ""
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_check(tmp_path: Path, database_url: str, partner: Partner, standin: StandIn) -> None:
    """Exit status 0 if all is well, else 1, and each problem is named."""
    good = {
        "DATABASE_URL": database_url,
        "STRIPE_SECRET_KEY": KEY,
        "STRIPE_API_BASE": standin.url,
    }
    done = run("check", **good)
    assert done.returncode == 0, done.stdout + done.stderr
    empty = f"sqlite:///{tmp_path}/empty.db"
    done = run("check", **{**good, "DATABASE_URL": empty, "STRIPE_SECRET_KEY": "sk_live_x"})
    assert done.returncode == 1
    assert "run `coord-users migrate`" in done.stdout
    assert "does not accept STRIPE_SECRET_KEY" in done.stdout
    assert "sk_live_x" not in done.stdout + done.stderr


def test_reconcile(database_url: str, caller: Caller, standin: StandIn, settings: Any) -> None:
    """Exit status 0 if nothing is to be done, 1 if something is left. A dry run changes nothing."""
    environ = {
        "DATABASE_URL": database_url,
        "STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "STRIPE_API_BASE": standin.url,
    }
    assert caller.save("tok_visa").status_code == 200
    assert run("reconcile", **environ).returncode == 0
    done = run("reconcile", **{**environ, "STRIPE_API_BASE": "http://127.0.0.1:9"})
    assert done.returncode == 1
    assert "Stripe cannot be used" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve(
    tmp_path: Path, settings: Settings, partner: Partner, standin: StandIn, workers: str
) -> None:
    """It serves with one worker or several, and exits with 0 on SIGTERM."""
    log = tmp_path / "log"
    with (
        serving(settings, log, "--workers", workers) as server,
        Caller(server.url, partner) as caller,
    ):
        assert caller.save(standin.new_token()).status_code == 200
    assert "Traceback" not in log.read_text()


def test_help_imports_click_and_nothing_else() -> None:
    """All that the commands import would take ten times as long."""
    program = (
        "import sys; from app.cli import main; main(['--help'], standalone_mode=False);"
        "print(*{name.partition('.')[0] for name in sys.modules if 'editable' not in name})"
    )
    printed = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path[:0] = {sys.path!r}; {program}",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = set(printed.stdout.splitlines()[-1].split()) - sys.stdlib_module_names
    assert modules - {"__main__", "coverage"} == {"app", "click"}


def test_terminal_without_unicode_shows_escapes(tmp_path: Path, database_url: str) -> None:
    """In latin-1, for example, the command does not fail."""
    added = run(
        *("partner", "add", "\u7528\u6237", "--issuer", "https://acme.example/"),
        *("--audience", AUDIENCE, "--jwks-file", jwks_file(tmp_path)),
        DATABASE_URL=database_url,
    )
    assert added.returncode == 0, added.stderr
    listed = run("partner", "list", DATABASE_URL=database_url, PYTHONIOENCODING="latin-1")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "\\u7528\\u6237" in listed.stdout


def test_database_that_cannot_be_reached() -> None:
    """One line reports it, without the password."""
    url = "postgresql://coord:secret@127.0.0.1:9/users"
    done = run("users", DATABASE_URL=url)
    assert done.returncode == 1
    assert "The database cannot be used" in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1
