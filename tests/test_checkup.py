"""What `coord-users check` reports on the database, the issuers and Stripe."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from support.issuer import JwksServer, signer
from support.postgresql import PostgreSql

from app.checkup import Result, check
from app.config import Settings
from app.identity.jwks import KeySource
from app.identity.registry import add_registration, set_disabled
from app.storage.database import Database
from app.storage.tables import issuers

ISSUER = "https://acme.example/"
SECRET = KeySource(shared_secret=b"0123456789abcdef" * 2)


def results(settings: Settings, url: str) -> dict[str, Result]:
    return {result.what: result for result in check(replace(settings, database_url=url))}


def test_database_of_one_node(settings: Settings) -> None:
    """The report says that the disk is the only copy, which is not an error."""
    found = results(settings, settings.database_url)
    assert found["database"].trouble == found["commits"].trouble == ""
    assert found["commits"].state.startswith("local. There is no standby")


def test_read_only_database_is_reported(settings: Settings) -> None:
    path = settings.database_url.removeprefix("sqlite:///")
    found = results(settings, f"sqlite:///file:{path}?mode=ro&uri=true")
    assert "takes no writes" in found["database"].trouble
    assert found["migrations"].trouble == ""


def test_invalid_url_does_not_hide_other_results(settings: Settings) -> None:
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
    """Commits that a crash of one node loses are an error; else it states what may be lost."""
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


def test_good_configuration_has_no_errors(settings: Settings, database: Database) -> None:
    with JwksServer(signer(kid="k").jwk) as server:
        for issuer, source in ((ISSUER, KeySource(server.url)), ("https://b/", SECRET)):
            add_registration(database, "Acme", issuer, ["a"], source)
        found = results(settings, settings.database_url)
    assert [*found] == [
        *("database", "migrations", "commits", "installation"),
        *(f"issuer {ISSUER} of Acme", "issuer https://b/ of Acme", "Stripe", "stored customers"),
    ]
    assert not any(result.trouble for result in found.values())


def test_issuers_whose_keys_cannot_be_used(settings: Settings, database: Database) -> None:
    """Too short, out of reach, or unusable: each issuer's reason is reported."""
    with JwksServer(signer(kid="k").jwk) as server:
        for name, source in (("none", KeySource(server.url)), ("weak", SECRET)):
            add_registration(database, "Acme", f"https://{name}/", ["a"], source)
        server.keys = [{**signer(kid="k").jwk, "use": "enc"}]
        with database.writing() as connection:
            weak = issuers.update().where(issuers.c.issuer == "https://weak/")
            connection.execute(weak.values(shared_secret=b"short"))
        found = results(settings, settings.database_url)
    assert "No key of the JWK Set" in found["issuer https://none/ of Acme"].trouble
    assert "at least 32" in found["issuer https://weak/ of Acme"].trouble
    away = results(settings, settings.database_url)["issuer https://none/ of Acme"]
    assert "cannot be fetched" in away.trouble


def test_skipped_keys_are_reported(settings: Settings, database: Database) -> None:
    """An unusable key is not an error; a private one is, as the issuer must replace it."""
    with JwksServer(signer(kid="k").jwk, {"kty": "new", "kid": "odd"}) as server:
        add_registration(database, "Acme", ISSUER, ["a"], KeySource(server.url))
        odd = results(settings, settings.database_url)[f"issuer {ISSUER} of Acme"]
        server.keys.append({"kty": "oct", "k": "secret"})
        private = results(settings, settings.database_url)[f"issuer {ISSUER} of Acme"]
    assert odd.trouble == ""
    assert odd.state.startswith("not used: the key 'odd' has a `kty`")
    assert "is private or secret" in private.trouble
    assert "secret'" not in private.trouble


def test_a_disabled_partners_issuers_are_left_out(settings: Settings, database: Database) -> None:
    add_registration(database, "Acme", ISSUER, ["a"], SECRET)
    set_disabled(database, "Acme", disabled=True)
    found = results(settings, settings.database_url)
    assert "partner add" in found["partners"].trouble


def test_without_partners(settings: Settings) -> None:
    assert "partner add" in results(settings, settings.database_url)["partners"].trouble


def test_stripe_that_does_not_answer_or_refuses(settings: Settings) -> None:
    """No key, a wrong key, or unreachable: reported without the key."""

    def trouble(**changed: Any) -> str:
        return {result.what: result for result in check(replace(settings, **changed))}[
            "Stripe"
        ].trouble

    assert "not set" in trouble(stripe_secret_key="")
    wrong = trouble(stripe_secret_key="sk_live_wrong1234")
    assert "does not accept STRIPE_SECRET_KEY" in wrong
    assert "sk_live_wrong" not in wrong
    assert "cannot be reached" in trouble(stripe_api_base="http://127.0.0.1:9")


def test_database_that_is_empty_or_out_of_reach(settings: Settings, tmp_path: Path) -> None:
    """Checks that cannot run are left out; the others are reported."""
    empty = results(settings, f"sqlite:///{tmp_path}/empty.db")
    assert "coord-users migrate" in empty["migrations"].trouble
    away = results(settings, "sqlite:////nowhere/at/all.db")
    assert "cannot be used" in away["database"].trouble
    assert away["Stripe"].trouble == ""
    assert "migrations" not in away
