"""`coord-users access-key`: what an operator types, and what is printed."""

from pathlib import Path

from commands.conftest import Run
from support.serving import Partner

from app.storage.database import Database


def test_an_access_key_is_printed_once_and_alone(
    run: Run, partner: Partner, database: Database, tmp_path: Path
) -> None:
    """It is not in the list, nor in the database; the list shows when it was made and revoked."""
    created = run("access-key", "create", "Acme")
    key = created.stdout.strip()
    assert key.startswith("coord_ak_")
    assert created.stdout == f"{key}\n"
    assert created.stderr == ""
    assert key.encode() not in (tmp_path / "users.db").read_bytes()
    assert run("access-key", "revoke", "2").stderr == "Access key 2 is revoked.\n"
    heading, first, second = run("access-key", "list").stdout.splitlines()
    assert heading.split() == ["id", "partner", "created", "last_used", "revoked"]
    assert [len(row.split()) for row in (first, second)] == [3, 4]
    assert key not in second


def test_mistakes_are_told_in_one_line(run: Run) -> None:
    for words, error in (
        (("create", "Acme"), "There is no such partner"),
        (("revoke", "1"), "There is no access key 1"),
        (("revoke", "0"), "is not in the range"),
        (("revoke", str(2**63)), "is not in the range"),
    ):
        done = run("access-key", *words)
        assert done.exit_code != 0
        assert error in done.stderr
