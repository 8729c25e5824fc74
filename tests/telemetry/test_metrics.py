"""What operators see: an event for each request, and Prometheus's metrics."""

import inspect
import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from support.server_process import serving
from support.serving import Caller, Partner, Service

from app.config import Settings
from app.errors import ParameterRefused
from app.sandbox.standin.server import StandIn
from app.stripe_account import calls, readings
from app.telemetry.metrics import Metrics

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def figures(exposition: str) -> dict[str, float]:
    """Return the samples of an exposition: name and labels, and value."""
    return {
        " ".join([sample.name, *filter(None, sorted(sample.labels.values()))]): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def test_request_leaves_one_line(
    settings: Settings, partner: Partner, standin: StandIn, tmp_path: Path
) -> None:
    """It names the request, its caller and its end, and shows where its time went."""
    log = tmp_path / "log"
    with serving(settings, log) as server, Caller(server.url, partner) as caller:
        tracing = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
        saved = caller.post(
            {"coord_targeted_token": standin.new_token()},
            headers={**tracing, "X-Forwarded-For": "203.0.113.9, 192.0.2.7"},
        )
        refused = caller.post({"coord_targeted_token": 1})
        unknown = caller.post({}, access_key="coord_ak_" + "A" * 43)
    lines = [event for event in server.events() if event["event"] == "request"]
    by_id = {line["request_id"]: line for line in lines}
    assert len(by_id) == len(lines) == 3
    line = by_id[saved.headers["x-request-id"]]
    assert line["method"] == "POST"
    # The proxy at 127.0.0.1 is trusted, and the one that it names is not.
    assert (line["client"], line["trace_id"]) == ("192.0.2.7", TRACE_ID)
    assert (line["status"], line["code"], line["partner"]) == (200, "", 1)
    parts = [line[name] for name in ("checks", "storage", "stripe")]
    assert all(part > 0 for part in parts)
    assert sum(parts) <= line["seconds"] + 0.001
    line = by_id[refused.headers["x-request-id"]]
    assert (line["status"], line["code"], line["partner"]) == (400, "invalid_request", 1)
    assert "stripe" not in line
    assert line["client"] == "127.0.0.1"
    assert "trace_id" not in line
    line = by_id[unknown.headers["x-request-id"]]
    assert (line["status"], line["code"], line["partner"]) == (401, "invalid_access_key", None)


def test_request_id_is_known_at_stripe(caller: Caller, standin: StandIn) -> None:
    """The caller's own, where it gives one that is well formed: support can follow it."""
    answer = caller.post(
        {"coord_targeted_token": standin.new_token()}, headers={"X-Request-Id": "order-4711.a"}
    )
    assert answer.headers["x-request-id"] == "order-4711.a"
    customer = httpx.get(
        f"{standin.url}/v1/customers/{answer.json()['customer_id']}",
        headers={"Authorization": "Bearer sk_test_x"},
        trust_env=False,
    ).json()
    assert customer["metadata"]["coord_request"] == "order-4711.a"


def test_figures_answer_operators_questions(
    service: Service, caller: Caller, standin: StandIn
) -> None:
    """How many requests ended how, how long Stripe took, what is open and in flight."""
    caller.save(standin.new_token())
    caller.save("tok_chargeDeclined")
    caller.save("tok_standin_forbidden")
    result = figures(caller.http.get("/metrics").text)
    assert result["coord_users_requests_total 200"] == 1
    assert result["coord_users_requests_total 402 card_declined"] == 1
    assert result["coord_users_request_seconds_count"] == 3
    assert result["coord_users_stripe_seconds_count answered create"] == 1
    assert result["coord_users_stripe_seconds_count refused update"] == 2
    assert result["coord_users_in_flight"] == 0
    assert result["coord_users_open_attempts"] >= 0
    assert result["coord_users_oldest_open_attempt_seconds"] >= 0


def test_what_alerts_watch_begins_at_zero() -> None:
    """Prometheus's increase() would otherwise miss the first 500 and the first card saved."""
    samples = figures(Metrics().exposition().decode())
    assert samples["coord_users_requests_total 500 internal"] == 0
    for call in (calls.CREATE, calls.CREATE_WITH_PM, calls.UPDATE, calls.SET_DEFAULT):
        assert samples[f"coord_users_stripe_seconds_count answered {call.name}"] == 0
    named = set(re.findall(r'reason="(\w+)"', inspect.getsource(readings)))
    for reason in named | {ParameterRefused.reason}:
        assert samples[f"coord_users_stripe_refuses_us_total {reason}"] == 0


def test_limit_of_requests_in_flight_is_exported(service: Service, caller: Caller) -> None:
    """So that an alert rule compares with the limit as it is configured."""
    samples = figures(caller.http.get("/metrics").text)
    assert samples["coord_users_in_flight_limit"] == Settings().max_in_flight


def test_process_is_measured(service: Service, caller: Caller) -> None:
    """Memory, processor time and open files: what prometheus_client tells of a process."""
    samples = figures(caller.http.get("/metrics").text)
    assert samples["process_resident_memory_bytes"] > 2**20
    assert samples["process_cpu_seconds_total"] > 0
    assert 0 < samples["process_open_fds"] < samples["process_max_fds"]


def test_figures_are_those_of_all_workers(
    settings: Settings, partner: Partner, standin: StandIn, tmp_path: Path
) -> None:
    """Whichever worker responds; each worker's process is measured."""
    with serving(settings, tmp_path / "log", "--workers", "2") as server:
        server.wait_for_event("serving")
        for number in range(20):
            with Caller(server.url, partner) as caller:
                assert caller.save(standin.new_token(), f"user-{number}").status_code == 200
        for _ in range(5):
            result = figures(server.get("/metrics"))
            assert result["coord_users_requests_total 200"] == 20
            assert result["coord_users_stripe_seconds_count answered create"] == 20
            assert result["coord_users_in_flight_limit"] == 2 * settings.max_in_flight
            assert result["process_resident_memory_bytes 0"] > 2**20
            assert result["process_resident_memory_bytes 1"] > 2**20
