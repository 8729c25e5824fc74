"""`coord-users forget`, as an operator runs it."""

from support.serving import Caller, Partner
from test_cli import run

from app.config import Settings
from app.sandbox.standin.server import StandIn


def test_user_is_forgotten_and_can_begin_anew(
    caller: Caller, partner: Partner, settings: Settings, standin: StandIn
) -> None:
    """By the command, while the service runs; a second time there is no such user."""
    environ = {
        "DATABASE_URL": settings.database_url,
        "STRIPE_SECRET_KEY": settings.stripe_secret_key,
        "STRIPE_API_BASE": settings.stripe_api_base,
    }
    words = ("forget", "--issuer", partner.issuer, "--subject", "user-1")
    first = caller.save(standin.new_token()).json()["customer_id"]
    done = run(*words, **environ)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    again = run(*words, **environ)
    assert again.returncode == 1
    assert "no such user" in again.stderr
    assert caller.save(standin.new_token()).json()["customer_id"] != first


def test_stripe_out_of_reach_is_one_line(
    caller: Caller, partner: Partner, settings: Settings, standin: StandIn
) -> None:
    caller.save(standin.new_token())
    done = run(
        *("forget", "--issuer", partner.issuer, "--subject", "user-1"),
        DATABASE_URL=settings.database_url,
        STRIPE_SECRET_KEY=settings.stripe_secret_key,
        STRIPE_API_BASE="http://127.0.0.1:9",
        STRIPE_TIMEOUT="0.2",
        REQUEST_TIMEOUT="0.5",
    )
    assert done.returncode == 1
    assert "repeat the command" in done.stderr.splitlines()[-1]
