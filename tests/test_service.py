"""What the service checks before it serves, and `coord-users check` as well."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.command import run
from support.server_process import serving
from support.serving import Caller

from app.checkup import check
from app.config import Settings
from app.errors import ConfigurationError
from app.sandbox.standin.server import StandIn
from app.service import check_account
from app.storage.database import Database

LINE = "Stripe knows none of the newest stored customers"


@pytest.fixture
def another(settings: Settings) -> Iterator[Settings]:
    """Return the settings of the same service with the key of another account."""
    with StandIn() as standin:
        yield _with_account(settings, standin.url)


def _with_account(settings: Settings, url: str) -> Settings:
    return replace(settings, stripe_api_base=url)


def problem_found(settings: Settings) -> str | None:
    """Return what `check` reports of the stored customers."""
    return {one.what: one.trouble for one in check(settings)}.get("stored customers")


def test_key_of_another_account_is_refused(
    settings: Settings, another: Settings, caller: Caller
) -> None:
    """The service does not start, and `check` states the reason."""
    for good in (settings, another):
        check_account(good)
        assert problem_found(good) == ""
    assert caller.save("tok_visa").status_code == 200
    check_account(settings)
    assert problem_found(settings) == ""
    with pytest.raises(ConfigurationError, match=LINE) as raised:
        check_account(another)
    assert "\n" not in str(raised.value)
    assert str(problem_found(another)).startswith(LINE)


def test_service_starts_if_stripe_is_unreachable(settings: Settings, caller: Caller) -> None:
    """Without the check, and with an event that says so."""
    nowhere = _with_account(settings, "http://127.0.0.1:9")
    assert caller.save("tok_visa").status_code == 200
    with capture_logs() as events:
        check_account(nowhere)
    (event,) = [one for one in events if one["event"] == "stored customers not checked"]
    assert event["log_level"] == "warning"
    assert event["reason"]
    assert problem_found(nowhere) is None


def test_stripe_that_fails_after_it_was_checked(
    settings: Settings, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is valid; whether the account has the customers stays unknown."""
    assert caller.save("tok_visa").status_code == 200
    monkeypatch.setattr("app.checkup._stripe_trouble", lambda _settings: "")
    nowhere = _with_account(settings, "http://127.0.0.1:9")
    assert str(problem_found(nowhere)).startswith("cannot be checked")


def test_check_shows_the_installation(settings: Settings, database: Database) -> None:
    """A lost database is rebuilt by this id."""
    (found,) = [one for one in check(settings) if one.what == "installation"]
    assert (found.trouble, found.state) == ("", database.installation())


def test_serve_does_not_start_on_another_account(
    settings: Settings, another: Settings, caller: Caller, tmp_path: Path
) -> None:
    """It prints one line on stderr."""
    assert caller.save("tok_visa").status_code == 200
    environ = {
        "DATABASE_URL": another.database_url,
        "STRIPE_SECRET_KEY": another.stripe_secret_key,
        "STRIPE_API_BASE": another.stripe_api_base,
    }
    for workers in ("1", "2"):
        done = run("serve", "--port", "0", "--workers", workers, **environ)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"Error: {LINE}")
        assert "Traceback" not in done.stderr
    with serving(settings, tmp_path / "log"):
        pass
