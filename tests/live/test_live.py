"""The script that asks Stripe: tried on the stand-in, and on Stripe where there is a key."""

import json
import os
from collections.abc import Iterator

import pytest
from live.__main__ import EXPECTED, differences, findings, main
from live.api import Api, LiveKey
from live.questions import QUESTIONS, burst
from live.questions_on_cards import Finding

from app.sandbox.standin.limits import SANDBOX, Limiter
from app.sandbox.standin.server import StandIn

TEST_KEY = "STRIPE_LIVE_TEST_KEY"


@pytest.fixture(scope="module")
def running() -> Iterator[StandIn]:
    with StandIn() as standin:
        yield standin


@pytest.fixture(scope="module")
def environ(running: StandIn) -> dict[str, str]:
    return {
        "STRIPE_API_BASE": running.url,
        TEST_KEY: "sk_test_coord",
        "STRIPE_LIVE_RESTRICTED_KEY": "rk_test_coord",
        "STRIPE_LIVE_PLATFORM_KEY": "sk_test_platform",
        "STRIPE_LIVE_ACCOUNT": "acct_standin_coord",
    }


@pytest.mark.usefixtures("off_document")
def test_standin_answers_as_this_service_believes(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each question is asked, none fails, and nothing differs from `expected.json`."""
    assert main(environ) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out[printed.out.index("{\n") :])
    assert "instead of" not in printed.err
    assert set(found) == {*(one.__name__ for one in QUESTIONS), "rights", "clone", "burst"}
    assert [name for name, finding in found.items() if "failed" in finding] == []
    assert set(json.loads(EXPECTED.read_text("utf-8"))) == set(found) - {"burst"}
    assert found["burst"]["statuses"] == {"200": 60}


def test_question_that_fails_does_not_end_the_others(environ: dict[str, str]) -> None:
    """Here, Stripe cannot be reached at all."""
    found = dict(findings({**environ, "STRIPE_API_BASE": "http://127.0.0.1:1"}))
    assert all("failed" in finding for finding in found.values())


def test_burst_meets_the_limit(running: StandIn) -> None:
    """The statuses are counted, and one refusal is kept with its headers."""
    running.account.limiter = Limiter(SANDBOX)
    with Api("sk_test_coord", running.url) as api:
        found = burst(api)
        running.account.limiter = Limiter()
    assert sum(found["statuses"].values()) == 60
    assert found["statuses"]["429"]
    assert found["refusal"]["code"] == "rate_limit"
    assert found["refusal"]["Stripe-Should-Retry"] == "false"


def test_difference_is_named() -> None:
    found: Finding = {"status": 402, "more": 1}
    assert "lists, status: 402 instead of 200" in differences("lists", found)
    assert "lists, more: 1 instead of None" in differences("lists", found)
    assert differences("unheard of", found) == []


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x", "x", ""])
def test_live_keys_are_refused(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is sent, and without a word of the key."""
    assert main({TEST_KEY: key}) == 2
    assert "sk_live" not in capsys.readouterr().err
    with pytest.raises(LiveKey):
        Api(key)


def test_nothing_is_left_behind(running: StandIn) -> None:
    with Api("sk_test_coord", running.url) as api:
        api.customer()
        assert api.get("customers")["data"]
    with Api("sk_test_coord", running.url) as api:
        assert api.get("customers")["data"] == []


@pytest.mark.skipif(TEST_KEY not in os.environ, reason=f"needs {TEST_KEY}, of a sandbox")
def test_stripe_answers_as_this_service_believes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With a key: what Stripe itself says; see `live.__main__` for the optional keys."""
    found = dict(findings(dict(os.environ)))
    file = tmp_path_factory.getbasetemp() / "stripe-findings.json"
    file.write_text(json.dumps(found, indent=1), "utf-8")
    print(f"findings: {file}")
    assert [line for name in found for line in differences(name, found[name])] == []
