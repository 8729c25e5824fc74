"""`coord-users partner`: what an operator types, and what is printed."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from commands.conftest import Run
from sqlalchemy import select
from support.issuer import JwksServer, signer

from app.storage.database import Database
from app.storage.tables import issuers

KEY = signer("EdDSA", "k1").jwk
ISSUER = "https://acme.example/"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [KEY]}))
    return str(path)


def words(command: str, *options: str, name: str = "Acme") -> tuple[str, ...]:
    return ("partner", command, name, "--issuer", ISSUER, *options)


def rows(database: Database) -> list[Any]:
    with database.reading() as connection:
        return list(connection.execute(select(issuers)).mappings())


def said(done: Result) -> list[str]:
    """Return what it printed, after checking that it went well."""
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_a_registration_is_listed(run: Run, file: str) -> None:
    added = run(*words("add", "--audience", "a", "--audience", "b", "--jwks-file", file, "--test"))
    assert said(added) == []
    assert added.stderr == f"Registered {ISSUER} for Acme.\n"
    heading, row = said(run("partner", "list"))
    assert heading.split() == [
        *("partner", "issuer", "audiences", "keys", "test", "created", "disabled")
    ]
    assert row.split()[:7] == ["Acme", ISSUER, "a", "b", "JWK", "Set", "yes"]


def test_keys_that_are_not_used_are_told(run: Run) -> None:
    with JwksServer(KEY, {**KEY, "kid": "enc", "use": "enc"}) as server:
        done = run(*words("add", "--audience", "a", "--jwks-url", server.url))
        again = run(*words("update", "--jwks-url", server.url))
    result = "Not used: the key 'enc' has a `use` other than sig.\n"
    assert done.stderr == f"{result}Registered {ISSUER} for Acme.\n"
    assert again.stderr == f"{result}Nothing has changed.\n"
    assert said(again) == []


def test_the_last_newline_is_not_the_secrets(run: Run, tmp_path: Path, database: Database) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"s" * 32 + b"\n")
    said(run(*words("add", "--audience", "a", "--shared-secret-file", str(path))))
    assert [row["shared_secret"] for row in rows(database)] == [b"s" * 32]
    (_, row) = said(run("partner", "list"))
    assert "shared secret" in row
    assert "sss" not in row


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (("--audience", "b", "--audience", "c"), ["audiences: a -> b c"]),
        (("--no-test",), ["test: yes -> no"]),
        (("--test",), []),
        (("--audience", "a"), []),
        (("--shared-secret-file", "{folder}/secret"), ["keys: JWK Set -> shared secret"]),
        (("--jwks-file", "{folder}/other.json"), ["keys: another JWK Set"]),
        (
            ("--no-test", "--jwks-file", "{folder}/other.json", "--audience", "z"),
            ["audiences: a -> z", "test: yes -> no", "keys: another JWK Set"],
        ),
    ],
)
def test_an_update_prints_what_changed(
    run: Run, file: str, tmp_path: Path, options: tuple[str, ...], changes: list[str]
) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 32)
    (tmp_path / "other.json").write_text(json.dumps({"keys": [{**KEY, "kid": "k2"}]}))
    said(run(*words("add", "--audience", "a", "--jwks-file", file, "--test")))
    done = run(*words("update", *(option.format(folder=tmp_path) for option in options)))
    assert said(done) == changes
    assert done.stderr == ("" if changes else "Nothing has changed.\n")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (words("add", "--audience", "a"), "Give one of --jwks-url, --jwks-file or"),
        (
            words("add", "--audience", "a", "--jwks-url", "https://a/", "--jwks-file", "{file}"),
            "Give only one of --jwks-url",
        ),
        (words("add", "--jwks-file", "{file}"), "Missing option '--audience'"),
        (words("update"), "Give --audience, --test, --no-test, --jwks-url"),
        (words("update", "--test"), "does not have this issuer"),
        (
            words("add", "--audience", "a", "--jwks-file", "{file}", name=""),
            "partner's name",
        ),
        (words("add", "--audience", "a", "--jwks-file", "{bad}"), "bad is not valid JSON"),
        (("partner", "disable", "Acme"), "There is no such partner"),
        (("partner", "enable", "Acme"), "There is no such partner"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    run: Run, file: str, tmp_path: Path, given: tuple[str, ...], error: str, database: Database
) -> None:
    bad = tmp_path / "bad"
    bad.write_text("no")
    done = run(*(word.format(file=file, bad=bad) for word in given))
    assert done.exit_code != 0
    assert done.stdout == ""
    assert error in done.stderr.splitlines()[-1]
    assert rows(database) == []


def test_a_partner_is_disabled_and_enabled(run: Run, file: str) -> None:
    said(run(*words("add", "--audience", "a", "--jwks-file", file)))
    assert run("partner", "disable", "Acme").stderr == "Acme is disabled.\n"
    (_, row) = said(run("partner", "list"))
    assert len(row.split()) == 8
    assert run("partner", "enable", "Acme").stderr == "Acme is enabled.\n"
    (_, row) = said(run("partner", "list"))
    assert len(row.split()) == 7


def test_no_partner_is_listed_where_there_is_none(run: Run) -> None:
    assert said(run("partner", "list")) == []


def test_a_database_that_fails_is_told_in_one_line(run: Run, database: Database) -> None:
    with database.writing() as connection:
        connection.exec_driver_sql("drop table issuers")
    done = run("partner", "list")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: The database cannot be used: OperationalError")
