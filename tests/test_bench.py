"""The benchmark's arithmetic, which decides whether a target is met."""

from typing import Any

import pytest
from bench import layers
from bench.arena import FLOOR, HAND_WRITTEN, LABELS, OURS
from bench.figures import Spread, percentile, ratios, share_of_possible, steady
from bench.load import Load, Run
from bench.readme import BEGIN, END, with_figures
from bench.table import markdown, rows


def test_spread_shows_median_and_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(1.0, 2.5, 10.0)
    assert Spread(1.0, 2.5, 10.0).formatted(".1f", " ms") == "2.5 ms [1.0 to 10.0]"


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1.0), (1, 1.0), (50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile([float(it) for it in range(100, 0, -1)], percent) == value


def test_ratio_is_to_the_best_of_the_same_round() -> None:
    """A minute in which the machine was slow affects all servers alike."""
    assert ratios([300.0, 30.0], [[100.0, 15.0], [150.0, 10.0]]) == [2.0, 2.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([300.0, 30.0], [[100.0]])


def test_steady_rate_leaves_out_the_start() -> None:
    assert steady([0.5, 2.0, 2.5, 3.9, 4.0], 2.0, 4.0) == 1.5


def test_what_is_possible_is_bounded_by_the_core_and_by_the_callers() -> None:
    assert share_of_possible(570.0, 600.0, 256, 0.3) == pytest.approx(0.95)
    assert share_of_possible(800.0, 2000.0, 240, 0.3) == 1.0


def results(ours: dict[str, float], peer: dict[str, float]) -> dict[str, Any]:
    """Return the measurements of three equal rounds."""
    turn = dict.fromkeys(HAND_WRITTEN, peer) | {OURS: ours}
    turn[FLOOR] = {"rate": 1000.0, "cpu_ms": 0.5, "peak_mb": 40.0, "ready_s": 0.1}
    machine = {"python": "3.11", "cores": 2, "processor": "p", "load_before": 0.1}
    return {"rounds": [turn] * 3, "machine": machine, "seconds": 7}


PEER = {"rate": 300.0, "cpu_ms": 3.0, "slow_rate": 100.0, "peak_mb": 100.0, "ready_s": 1.0}
GOOD = {"rate": 450.0, "cpu_ms": 1.9, "slow_rate": 440.0, "peak_mb": 100.0, "ready_s": 1.9}
BAD = {"rate": 440.0, "cpu_ms": 2.1, "slow_rate": 150.0, "peak_mb": 100.0, "ready_s": 2.1}


@pytest.mark.parametrize(("ours", "met"), [(GOOD, True), (BAD, False)])
def test_each_target_is_met_or_reported_as_missed(ours: dict[str, float], met: bool) -> None:
    result = [row for row in rows(results(ours, PEER)) if row.met is not None]
    assert len(result) == 5
    assert {row.met for row in result} == {met}


def test_aim_beyond_a_target_is_told_apart() -> None:
    table = markdown(results(GOOD | {"ready_s": 0.7, "ready_mb": 91.0}, PEER))
    assert "| at most 2 s; the aim is 0.8 | 0.70 s [0.70 to 0.70] | yes; aim: yes |" in table
    assert "| the aim is 88 MB | 91 MB [91 to 91] | aim: no |" in table
    assert "| 1.50 times [1.50 to 1.50] | yes; aim: no |" in table


def slow_results(**other: Any) -> dict[str, Any]:
    """Return good measurements with a slow Stripe, with some changed."""
    day = {"callers": 10, "answered": 10, "stripe_s": 10.0, "slowest_s": 11.9, "peak_mb": 149.0}
    beyond = {
        "refused_p99_ms": 99.0,
        "refused": 5,
        "accepted_median_ms": 110.0,
        "within_median_ms": 101.0,
    }
    return results(GOOD, PEER) | {
        "bad_day": [day | other],
        "beyond_capacity": [beyond | other],
        "callers_who_go": [{"callers": 100, "calls": 5} | other],
        "at_stripes_pace": [{"median_ms": 4.9, "p99_ms": 24.0} | other],
    }


@pytest.mark.parametrize(
    ("other", "missed"),
    [
        ({}, 0),
        ({"answered": 9}, 1),
        ({"slowest_s": 12.1}, 1),
        ({"peak_mb": 151.0}, 1),
        ({"refused_p99_ms": 101.0}, 1),
        ({"refused": 0}, 1),
        ({"accepted_median_ms": 120.0}, 1),
        ({"calls": 20}, 1),
        ({"median_ms": 5.1}, 1),
        ({"p99_ms": 26.0}, 1),
    ],
)
def test_each_target_of_slow_days_can_be_missed(other: dict[str, Any], missed: int) -> None:
    assert sum(row.met is False for row in rows(slow_results(**other))) == missed


def test_pace_and_share_of_a_core_are_reported() -> None:
    result = {row.what: row for row in rows(slow_results(rate=25.0, cpu_percent=9.04))}
    assert "25 requests/s, Stripe at 300 ms: our own time, median" in result
    assert result["the same: share of one core"].measured == "9.0 % [9.0 to 9.0]"


def test_instructions_stand_beside_the_times() -> None:
    counted = results(GOOD, PEER) | {"instructions": {OURS: 3_512_345.6}}
    line = next(it for it in markdown(counted).splitlines() if LABELS[OURS] in it)
    assert line.endswith("| 3.51 |")


@pytest.mark.parametrize(("ms", "met"), [(5.4, True), (5.6, False)])
def test_growth_is_against_the_fewest_users(ms: float, met: bool) -> None:
    by_users = {"1000": [{"stored_ms": 5.0, "new_ms": 5.0}], "10000000": [{"stored_ms": ms}]}
    by_users["10000000"][0]["new_ms"] = ms
    growth = {"by_users": by_users, "bytes_for_a_user": 300.0, "cores": 2, "by_workers": {}}
    result = [row for row in rows(results(GOOD, PEER) | {"growth": growth}) if "stored" in row.what]
    assert [row.met for row in result] == [met, met]


def test_figures_in_the_readme_are_written_anew_and_nothing_else() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = with_figures(text, results(GOOD, PEER), "the command")
    assert new.startswith(f"before\n{BEGIN}\n")
    assert new.endswith(f"\n{END}\nafter\n")
    assert "old" not in new
    assert "the command" in new
    assert markdown(results(GOOD, PEER)) in new
    assert with_figures(new, results(GOOD, PEER), "the command") == new
    with pytest.raises(ValueError, match="README"):
        with_figures("no marks", results(GOOD, PEER), "the command")


def test_table_has_a_line_for_each_server() -> None:
    result = markdown(results(GOOD, PEER))
    for label in LABELS.values():
        assert result.count(f"| {label} |") == 1


@pytest.mark.parametrize(
    ("body", "is_right"),
    [
        ('{"coord_targeted_token": "tok_7", "customer_id": "cus_7"}', True),
        ('{"coord_targeted_token": "tok_7", "customer_id": "cus_8"}', False),
        ('{"coord_targeted_token": "tok_8", "customer_id": "cus_7"}', False),
        ('{"customer_id": "cus_7"}', False),
    ],
)
def test_response_for_another_user_is_an_error(tmp_path: Any, body: str, is_right: bool) -> None:
    callers = tmp_path / "callers"
    callers.write_text("key\njwt\n")
    run = Run(Load(1, str(callers)))
    assert run.is_right(f"HTTP/1.1 200 OK\r\n\r\n{body}".encode(), 7) is is_right


def test_cost_of_a_called_function_is_not_counted_for_its_caller() -> None:
    sample = "\n".join(
        [
            "ob=(1) /lib/libpython.so",
            "fn=(1) a",
            "1 10",
            "cob=(2) /lib/libsqlite3.so.0",
            "cfn=(2) b",
            "calls=1 0",
            "2 500",
            "+3 5",
            "ob=(2)",
            "fn=(2)",
            "0 500",
        ]
    )
    assert layers.by_library(sample) == {"/lib/libpython.so": 15, "/lib/libsqlite3.so.0": 500}


def test_interpreter_is_divided_by_bytecodes() -> None:
    libraries = {"/lib/libpython.so": 80.0, "/lib/libc.so": 20.0, "/lib/libsqlite3.so.0": 7.0}
    result = layers.divided(libraries, {layers.RULE: 30, layers.FLASK: 10})
    assert result == {layers.RULE: 75.0, layers.FLASK: 25.0, layers.SQLITE: 7.0}


@pytest.mark.parametrize(
    ("file", "function", "layer"),
    [
        ("werkzeug/wsgi.py", "f", layers.FLASK),
        ("/x/app/contract/validation.py", "f", layers.CHECKS),
        ("/x/app/contract/bridge.py", "f", layers.EDGE),
        ("app/handlers.py", "f", layers.RULE),
        ("<string>", "validate", layers.CHECKS),
        ("<string>", "__init__", ""),
        ("<frozen abc>", "f", ""),
        ("/usr/lib/python3.11/json/decoder.py", "f", ""),
    ],
)
def test_layer_of_a_file(file: str, function: str, layer: str) -> None:
    assert layers.layer_of(file, function) == layer
