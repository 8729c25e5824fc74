"""Why Stripe cannot be reached is in the exception, in the log, and in what `check` prints."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.certificates import Authority
from support.raw_server import Server
from support.serving import Caller, Partner, Service

from app import checkup
from app.config import Settings
from app.stripe_account.account import StripeAccount
from app.stripe_account.outcomes import OutcomeUnknown

SECRET_KEY = "sk_test_MARKED"


@dataclass(frozen=True)
class Obstacle:
    """Where Stripe would be, and the words for why it is not reached."""

    url: str
    reason: str


@pytest.fixture(
    params=["refused", "no such host", "unknown authority", "no authorities", "silent", "proxy"]
)
def obstacle(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Obstacle]:
    """Yield what is in the way."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:
        if request.param == "refused":
            yield Obstacle("http://127.0.0.1:9", "could not connect: Connection refused")
        elif request.param == "no such host":
            yield Obstacle("https://stripe.invalid", "Could not resolve host: stripe.invalid")
        elif request.param == "silent":
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            yield Obstacle(url, "timed out setting up TLS or a proxy's tunnel")
        elif request.param == "proxy":
            monkeypatch.setenv("HTTPS_PROXY", "http://user:MARKED@127.0.0.1:9")
            yield Obstacle(
                "https://stripe.test", "could not connect to the proxy: Connection refused"
            )
        else:
            server = Server(lambda sock: None, Authority(tmp_path).server("127.0.0.1"))
            stack.callback(server.stop)
            known, missing = Authority(tmp_path, "Other").file, tmp_path / "missing.pem"
            is_unknown = request.param == "unknown authority"
            monkeypatch.setenv("SSL_CERT_FILE", str(known if is_unknown else missing))
            reason = "unable to get local issuer certificate" if is_unknown else str(missing)
            yield Obstacle(f"https://127.0.0.1:{server.port}", reason)


def test_exception_has_the_reason(obstacle: Obstacle) -> None:
    """And says that nothing was executed, as nothing was sent."""
    account = StripeAccount(SECRET_KEY, obstacle.url)
    with pytest.raises(OutcomeUnknown) as raised:
        account.retrieve("cus_1", timeout=0.5)
    account.close()
    assert obstacle.reason in str(raised.value)
    assert "MARKED" not in str(raised.value)
    assert raised.value.maybe_executed is False


def test_check_prints_the_reason(
    obstacle: Obstacle, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "CALL", 0.5)
    there = replace(settings, stripe_secret_key=SECRET_KEY, stripe_api_base=obstacle.url)
    trouble = {result.what: result.trouble for result in checkup.check(there)}["Stripe"]
    assert trouble.startswith("cannot be reached: ")
    assert obstacle.reason in trouble
    assert "MARKED" not in trouble


def test_log_has_the_reason(obstacle: Obstacle, settings: Settings, partner: Partner) -> None:
    """Beside the caller's 503, which has none."""
    there = replace(
        settings,
        stripe_secret_key=SECRET_KEY,
        stripe_api_base=obstacle.url,
        stripe_timeout=0.5,
        request_timeout=1.0,
    )
    with (
        Service(there) as service,
        Caller(service.url, partner) as caller,
        capture_logs() as events,
    ):
        response = caller.save("tok_1")
    assert response.status_code == 503
    assert obstacle.reason not in response.text
    inner = [str(event["inner"]) for event in events if event["event"] == "trouble"]
    assert any(obstacle.reason in words for words in inner), inner
    assert "MARKED" not in str(events)
