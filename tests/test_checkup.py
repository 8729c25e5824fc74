"""What `coord-users check` finds out about the database."""

from dataclasses import replace

from support.postgresql import PostgreSql

from app.checkup import Result, check
from app.config import Settings


def results(settings: Settings, url: str) -> dict[str, Result]:
    return {result.what: result for result in check(replace(settings, database_url=url))}


def test_database_of_one_node(settings: Settings) -> None:
    """An operator sees that the disk is the only copy, which is not a fault."""
    found = results(settings, settings.database_url)
    assert found["database"].trouble == found["commits"].trouble == ""
    assert found["commits"].state.startswith("local. There is no standby")


def test_database_that_takes_no_writes(settings: Settings) -> None:
    path = settings.database_url.removeprefix("sqlite:///")
    found = results(settings, f"sqlite:///file:{path}?mode=ro&uri=true")
    assert "takes no writes" in found["database"].trouble
    assert found["migrations"].trouble == ""


def test_unusable_url_hides_nothing_else(settings: Settings) -> None:
    found = results(settings, "postgresql://u:p@secret@h/users")
    assert "DATABASE_URL" in found["database"].trouble
    assert "secret" not in found["database"].trouble
    assert found["Stripe"].trouble == ""


def test_database_without_unicode(settings: Settings, postgres: PostgreSql) -> None:
    postgres.execute(
        "create database check_ascii encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' "
        "template template0"
    )
    found = results(settings, postgres.url("check_ascii"))
    assert "SQL_ASCII" in found["database"].trouble
    postgres.drop("check_ascii")


def test_durability(settings: Settings, postgres: PostgreSql) -> None:
    """Commits that a crash of one node loses are a fault; else the state says what may be lost."""
    url = postgres.create("check_durability")
    found = results(settings, url)["commits"]
    assert "A crash loses the last saves" in found.trouble
    with (
        postgres.setting("fsync", "on"),
        postgres.setting("synchronous_standby_names", "one"),
    ):
        found = results(settings, url)["commits"]
    assert found == ("commits", "", "synchronous")
    postgres.drop("check_durability")
