"""The count of what was tried counts what was tried, and nothing else."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from contract.answers import shipped
from contract.contract_coverage import BROKEN, KEPT, Contract, Item, main, report
from contract.exchanges import GIVEN, Exchange, read, write
from contract.schemas import broken, kept, reached, rules, whole
from support.serving import PATH

CONTRACT = Contract(shipped())
POST = "POST /user/current/stripe_info"
RESPONSES = shipped()["paths"]["/user/current/stripe_info"]["post"]["responses"]
STRIPE_INFO = "#/definitions/StripeInfo"
TOKEN = f"{STRIPE_INFO}/properties/coord_targeted_token"
REQUEST_ID = "9b1c6f0e2d7a4c58b3e4a1f06d5c7e92"


def exchange(status: str, sent: Any = None, **changed: Any) -> Exchange:
    """Return an exchange as it should be, with an answer of the contract's examples."""
    [(media_type, body)] = RESPONSES[status]["examples"].items()
    headers = {"content-type": media_type, "x-request-id": REQUEST_ID}
    if "Retry-After" in RESPONSES[status]["headers"]:
        headers["retry-after"] = "1"
    if status == "401":
        headers["www-authenticate"] = "Bearer "
    return dataclasses.replace(
        Exchange(
            "POST",
            PATH,
            [["access_key", GIVEN]],
            {"authorization": GIVEN, "content-type": "application/json"},
            json.dumps(sent or {"coord_targeted_token": "tok_visa"}),
            int(status),
            headers,
            json.dumps(body),
        ),
        **changed,
    )


def tried(*args: Any, **changed: Any) -> set[Item]:
    """Return what one exchange tries."""
    return set(CONTRACT.tried_by(exchange(*args, **changed)))


def test_what_there_is_to_try() -> None:
    """Each status, header, code, parameter, type and credential, and each rule on a body."""
    items = set(CONTRACT.items())
    for status, response in RESPONSES.items():
        assert Item(f"{POST} {status}", "answered") in items
        for name in response["headers"]:
            assert Item(f"{POST} {status} header {name}", "answered") in items
        for code, problem in response.get("x-problems", {}).items():
            is_asked_for = Item(f"{POST} {status} {code}", "answered") in items
            assert is_asked_for is not problem.get("retired", False)
    for what, how in (
        (f"{POST} query access_key", "left out and refused"),
        (f"{POST} security user_jwt", "left out and refused"),
        (f"{POST} consumes application/json", "sent and taken"),
        (f"{POST} produces application/problem+json", "answered"),
        ("404 not_found", "answered"),
        (f"{TOKEN}/maxLength", BROKEN),
        (f"{TOKEN}/maxLength", KEPT),
        (f"{STRIPE_INFO}/required/coord_targeted_token", BROKEN),
        (f"{STRIPE_INFO}/properties/customer_id/readOnly", BROKEN),
        ("#/definitions/Problem/properties/decline_code/pattern", "kept in an answer"),
    ):
        assert Item(what, how) in items


def test_nothing_is_counted_that_there_is_not() -> None:
    """All that any answer tries is among what is to be tried."""
    items = set(CONTRACT.items())
    for status in RESPONSES:
        assert tried(status) - {Item(f"{POST} consumes", "another type refused")} <= items


@pytest.mark.parametrize("status", RESPONSES)
def test_answer_tries_its_status_and_code(status: str) -> None:
    """And no other status's."""
    found = {item.what for item in tried(status) if item.how == "answered"}
    assert f"{POST} {status}" in found
    others = [f"{POST} {other}" for other in RESPONSES if other != status]
    assert not found.intersection(others)


def test_answer_that_breaks_the_contract_tries_nothing() -> None:
    """It may be by accident that it was tried at all."""
    assert tried("200", headers={}) == set()
    assert tried("400", body="{}") == set()


def test_code_is_not_that_of_another() -> None:
    """A listed code under another's page is not counted; an unlisted one is a kind of its own."""
    problem = json.loads(exchange("402").body)
    strange = {**problem, "type": "/v1/users/problems/card_refused"}
    refused = Item(f"{POST} 402 card_refused", "answered")
    assert refused not in tried("402", body=json.dumps(strange))
    assert refused in tried("402", body=json.dumps({**strange, "code": "incorrect_zip"}))


def test_credential_left_out_counts_where_the_other_is_there() -> None:
    """Else it is not known which of them was missed."""
    left_out = Item(f"{POST} security user_jwt", "left out and refused")
    assert left_out in tried("401", request_headers={})
    assert left_out not in tried("401")
    assert left_out not in tried("400", request_headers={})


def test_rule_counts_where_it_alone_is_broken_and_refused() -> None:
    """A value that breaks two shows neither; one that is taken shows none to be broken."""
    assert Item(f"{TOKEN}/type", BROKEN) in tried("400", {"coord_targeted_token": 1})
    assert Item(f"{TOKEN}/type", BROKEN) not in tried("422", {"coord_targeted_token": 1})
    two = {"coord_targeted_token": 1, "more": 1}
    assert not [item for item in tried("400", two) if item.how == BROKEN]
    read_only = {"coord_targeted_token": "tok_1", "customer_id": "cus_1"}
    assert Item(f"{STRIPE_INFO}/properties/customer_id/readOnly", BROKEN) in tried("400", read_only)


def test_limit_counts_where_it_is_reached_and_passed_by_one() -> None:
    """A value far from it shows neither."""
    rule = f"{TOKEN}/maxLength"
    for length, status, how, counts in (
        (255, "422", KEPT, True),
        (254, "422", KEPT, False),
        (256, "400", BROKEN, True),
        (257, "400", BROKEN, False),
    ):
        sent = {"coord_targeted_token": "tok_".ljust(length, "a")}
        assert (Item(rule, how) in tried(status, sent)) is counts, length


def test_body_and_type() -> None:
    """None at all, and another than the contract's."""
    assert Item(f"{POST} body", "left out and refused") in tried("400", request_body="")
    assert Item(f"{POST} consumes", "another type refused") in tried("415", request_headers={})
    assert Item(f"{POST} consumes", "another type refused") not in tried("415")


def test_problems_of_no_operation() -> None:
    """404 and 405 are answered elsewhere."""
    problem = shipped()["x-problems"]["not_found"]["example"]
    taken = exchange("400", path="/v1/users/nowhere", body=json.dumps(problem))
    taken = dataclasses.replace(taken, status=404)
    assert set(CONTRACT.tried_by(taken)) == {Item("404 not_found", "answered")}


def test_limits_of_all_kinds() -> None:
    """Numbers and lists have limits, too, and the parts of lists have rules."""
    schema = whole(
        {},
        {
            "type": "array",
            "minItems": 1,
            "items": {"allOf": [{"type": "integer", "maximum": 5}], "enum": [4, 5, 6]},
        },
        "#",
    )
    assert set(rules(schema, sent=True)) == set(kept(schema, [5]))
    assert set(reached(schema, [5])) == {"#/minItems", "#/items/allOf/0/maximum"}
    assert broken(schema, [], sent=True) == "#/minItems"
    assert broken(schema, [6], sent=True) == "#/items/allOf/0/maximum"
    assert broken(schema, [7], sent=True) is None
    assert broken(schema, [4], sent=True) is None


def test_keyword_that_is_not_counted_is_not_passed_over() -> None:
    """Else the count would be of less than the contract says."""
    with pytest.raises(NotImplementedError, match="#/oneOf"):
        whole({}, {"oneOf": []}, "#")


def test_report_names_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It fails while anything is; of a deployment that is not ours it only tells."""
    (tmp_path / "run").mkdir()
    write(exchange("200"), tmp_path / "run" / "exchanges.jsonl")
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert f"not tried: {POST} 503 overloaded: answered\n" in printed
    assert "1 exchanges tried" in printed
    assert (tmp_path / "coverage.txt").read_text("utf-8") == printed
    assert main([str(tmp_path), "--url", "http://elsewhere.example", "-k", "other"]) == 0


def test_all_is_tried_when_nothing_is_left() -> None:
    """Only then it is 100 %."""
    text, is_whole = report(CONTRACT, [exchange(status) for status in RESPONSES])
    assert not is_whole
    assert "100.0 %" not in text


def test_exchanges_keep_no_credential(tmp_path: Path) -> None:
    """That there were some is kept; so is a credential that was empty."""
    taken = Exchange.of(
        "post",
        f"http://here.example{PATH}?access_key=coord_ak_1&access_key=&more=1",
        {"Authorization": "Bearer eyJ", "X-Other": b"\xff"},
        b"\xff{",
        200,
        {"X-Request-Id": ["one", "two"]},
        b"\xff",
    )
    write(taken, tmp_path / "exchanges.jsonl")
    assert list(read([tmp_path / "exchanges.jsonl"])) == [taken]
    text = (tmp_path / "exchanges.jsonl").read_text("utf-8")
    assert "coord_ak_1" not in text
    assert "eyJ" not in text
    assert taken.query == [["access_key", GIVEN], ["access_key", ""], ["more", "1"]]
    assert taken.request_headers == {"authorization": GIVEN, "x-other": "ÿ"}
    assert taken.headers == {"x-request-id": "one, two"}
    assert (taken.sent(), taken.json()) == (None, None)
