"""What holds answers against the contract sees each thing that can be wrong with one."""

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from contract.answers import faults, shipped
from contract.schemas import rules, whole
from support.serving import PATH, Caller, Partner, Service

from app.config import Settings

DOCUMENT = shipped()
RESPONSES = DOCUMENT["paths"]["/user/current/stripe_info"]["post"]["responses"]
PROBLEM_JSON = "application/problem+json"
REQUEST_ID = "9b1c6f0e2d7a4c58b3e4a1f06d5c7e92"
# A value that breaks a rule and no other; what is too long is still of the form.
BREAK: dict[str, Callable[[Any], Any]] = {
    "type": lambda value: {} if not isinstance(value, dict) else [],
    "pattern": lambda value: "?" + value,
    "minLength": lambda _: "",
    "maxLength": lambda value: value + 255 * "a",
    "minimum": lambda _: 399,
    "maximum": lambda _: 600,
}


def example(status: str) -> dict[str, Any]:
    """Return the body of the contract's own example; of a problem, with all that it may have."""
    [(_, body)] = RESPONSES[status]["examples"].items()
    body = copy.deepcopy(body)
    if status != "200":
        body["decline_code"] = "generic_decline"
    return dict(body)


def headers(status: str, **changed: str | None) -> dict[str, str]:
    """Return the headers that an answer must have, some of them changed."""
    given: dict[str, str | None] = {
        "content-type": PROBLEM_JSON if status != "200" else "application/json",
        "x-request-id": REQUEST_ID,
        "www-authenticate": 'Bearer realm="Coord Users API"' if status == "401" else None,
        "retry-after": "1" if status in ("409", "429", "503") else None,
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return {name: value for name, value in given.items() if value is not None}


def faults_of(status: str, body: Any, **changed: str | None) -> list[str]:
    """Return what is wrong with an answer of the operation."""
    given = headers(status, **changed)
    return list(faults(DOCUMENT, "POST", PATH, int(status), given, json.dumps(body)))


def all_rules() -> list[tuple[str, str]]:
    """Return each rule on an answer, with its status."""
    return [
        (status, rule)
        for status, response in RESPONSES.items()
        for rule in rules(whole(DOCUMENT, response["schema"], status), sent=False)
    ]


def broken(status: str, rule: str) -> Any:
    """Return an answer that breaks a rule."""
    body = example(status)
    place, _, keyword = rule.rpartition("/")
    name = place.rpartition("/properties/")[2] if "/properties/" in place else ""
    if place.endswith("/required"):
        return {one: value for one, value in body.items() if one != keyword}
    if keyword == "additionalProperties":
        return {**body, "more": 1}
    if name:
        return {**body, name: BREAK[keyword](body[name])}
    return BREAK[keyword](body)


@pytest.mark.parametrize("status", RESPONSES)
def test_example_is_what_is_documented(status: str) -> None:
    """With the headers that belong to its status, and with HTTP's own."""
    assert faults_of(status, example(status)) == []
    assert faults_of(status, example(status), date="now", cache_control="no-store") == []


@pytest.mark.parametrize(("status", "rule"), all_rules())
def test_broken_rule_is_seen(status: str, rule: str) -> None:
    """Each keyword of each answer's schema counts."""
    assert faults_of(status, broken(status, rule)) != []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"content_type": "application/json"}, "the type application/json is not documented"),
        ({"x_request_id": None}, "the header X-Request-Id is missing"),
        ({"x_request_id": "?"}, "the header X-Request-Id of 409 has another form"),
        ({"retry_after": "soon"}, "the header Retry-After of 409 has another form"),
        ({"retry_after": "0"}, "the header Retry-After of 409 has another form"),
        ({"x_powered_by": "us"}, "the header x-powered-by is not documented"),
        ({"www_authenticate": "Bearer "}, "the header www-authenticate is not documented"),
        ({"allow": "POST"}, "the header allow is not documented"),
    ],
)
def test_broken_head_is_seen(changed: dict[str, str | None], said: str) -> None:
    """Each header that is documented is there, in its form, and no other."""
    assert any(one.startswith(said) for one in faults_of("409", example("409"), **changed))


def test_other_status_is_seen() -> None:
    """Of the operation, and where there is none."""
    assert faults_of("418", {}) == ["the status 418 is not documented"]
    problem = json.dumps(example("500"))
    nowhere = list(faults(DOCUMENT, "GET", "/v1/users/nowhere", 500, headers("500"), problem))
    assert nowhere == ["500 where there is no operation"]


def test_what_is_no_json_is_seen() -> None:
    """Whatever its type says."""
    found = list(faults(DOCUMENT, "POST", PATH, 500, headers("500"), b"<html>"))
    assert found == ["the body of 500 is no JSON"]


def test_address_and_method_without_operation() -> None:
    """404, and 405 with the header that HTTP wants; an answer to HEAD has no body."""
    for code, more in (("not_found", {}), ("method_not_allowed", {"allow": "POST"})):
        problem = DOCUMENT["x-problems"][code]["example"]
        given = headers(str(problem["status"]), **more)
        for method, body in (("GET", json.dumps(problem)), ("HEAD", "")):
            assert not list(faults(DOCUMENT, method, PATH, problem["status"], given, body))


def test_each_test_holds_its_answers_against_the_contract(
    answers_that_break_the_contract: list[str],
) -> None:
    """So does this one, as all do."""
    wrong = httpx.MockTransport(lambda _: httpx.Response(418))
    with httpx.Client(transport=wrong, base_url="http://wrong.example") as client:
        client.post(PATH)
        assert answers_that_break_the_contract == ["the status 418 is not documented"]
        answers_that_break_the_contract.clear()
        client.post("/elsewhere")


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return a list whose last item is what the handler answers."""
    answers: list[Any] = []
    monkeypatch.setattr("app.handlers.post_stripe_info", lambda **_: answers[-1])
    return answers


def test_service_never_sends_a_broken_answer(
    settings: Settings, partner: Partner, handler: list[Any]
) -> None:
    """It is a defect of the service, and reported as one."""
    with Service(settings) as service, Caller(service.url, partner) as caller:
        handler.append(example("200"))
        assert caller.save("tok_visa").status_code == 200
        for rule in (rule for status, rule in all_rules() if status == "200"):
            handler.append(broken("200", rule))
            answer = caller.save("tok_visa")
            assert (answer.status_code, answer.json()["code"]) == (500, "internal"), rule


def test_service_sends_it_where_it_does_not_look(
    settings: Settings,
    partner: Partner,
    handler: list[Any],
    answers_that_break_the_contract: list[str],
) -> None:
    """`VALIDATE_RESPONSES=false`: an operator may save the time."""
    blind = dataclasses.replace(settings, validate_responses=False)
    with Service(blind) as service, Caller(service.url, partner) as caller:
        handler.append({})
        assert caller.save("tok_visa").json() == {}
    assert answers_that_break_the_contract != []
    answers_that_break_the_contract.clear()
