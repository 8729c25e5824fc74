"""The alert rules and the dashboard: each is read by Prometheus, and matches what is exported."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from deploy.prometheus import HOW, Prometheus, scraping, selectors
from support.issuer import AUDIENCE, ISSUER, JwksServer, forge, signer
from support.needs import need
from support.server_process import serving
from support.serving import Caller, Partner

from app.config import Settings
from app.identity.jwks import KeySource
from app.identity.registry import add_registration, create_access_key
from app.sandbox.standin.server import StandIn
from app.storage.database import Database

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
pytestmark = pytest.mark.deploy


def promtool(*arguments: str | Path) -> str:
    """Return what promtool prints, which must be a success."""
    result = subprocess.run(
        [need("promtool", HOW), *arguments], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_rules_are_valid() -> None:
    assert f"SUCCESS: {len(RULES)} rules found" in promtool("check", "rules", ALERTS)


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    tests = Path(__file__).with_name("alerts_test.yaml")
    assert "SUCCESS" in promtool("test", "rules", tests)
    cases = [
        case
        for test in yaml.safe_load(tests.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    fires = {case["alertname"] for case in cases if case.get("exp_alerts")}
    assert fires == {rule["alert"] for rule in RULES}


@pytest.fixture
def key_of_away(database: Database) -> str:
    """The access key of a partner whose issuer is out of reach."""
    with JwksServer(signer("ES256").jwk) as issuer:
        add_registration(database, "Away", ISSUER, [AUDIENCE], KeySource(issuer.url))
    return create_access_key(database, "Away")


@pytest.fixture
def prometheus(
    settings: Settings, partner: Partner, key_of_away: str, standin: StandIn, tmp_path: Path
) -> Iterator[Prometheus]:
    """A Prometheus that has seen two workers save cards, refuse others, and fail."""
    with (
        serving(settings, tmp_path / "log", "--workers", "2") as server,
        scraping(server.url, ALERTS) as prometheus,
        Caller(server.url, partner) as caller,
    ):
        prometheus.wait_for("coord_users_in_flight")
        caller.save(standin.new_token())
        caller.save("tok_chargeDeclined")
        assert caller.save("tok_standin_forbidden").status_code == 500
        away = caller.post({}, access_key=key_of_away, jwt=forge(by=signer("ES256")))
        assert away.json()["code"] == "issuer_unavailable"
        prometheus.wait_for('coord_users_requests_total{status="500"} > 0')
        yield prometheus


def test_each_query_matches_what_the_service_exports(prometheus: Prometheus) -> None:
    """Every selector of every rule and panel finds samples, and every panel has something to show.

    An alert's whole expression is empty while all is well, so its parts are looked up.
    """
    expressions = [(rule["alert"], rule["expr"]) for rule in RULES] + [
        (panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]
    ]
    for title, expression in expressions:
        found = selectors(expression)
        assert found or "up{" in expression, title
        for selector in found:
            assert prometheus.query(selector), (title, selector)
    for panel in PANELS:
        for target in panel["targets"]:
            assert prometheus.wait_for(target["expr"].replace("$__rate_interval", "1m")), target
    assert {rule["name"]: rule["health"] for rule in prometheus.rules()} == {
        rule["alert"]: "ok" for rule in RULES
    }


def test_first_internal_error_fires(prometheus: Prometheus) -> None:
    """Though a counter that began with it would hide it from increase()."""
    prometheus.wait_for('ALERTS{alertname="CoordUsersInternalErrors",alertstate="firing"}')
