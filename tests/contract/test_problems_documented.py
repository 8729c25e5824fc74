"""The errors in the contract: each status, code, header, explanation and example."""

from typing import Any

import pytest
from contract.error_table import (
    CODES,
    ELSEWHERE,
    ERRORS,
    POST,
    PROBLEM,
    PROBLEM_JSON,
    RESPONSES,
    TABLE,
    faults_of_value,
    operation_of,
    read_contract,
)

# In the example of such a kind the code is one of Stripe's that the contract does not list.
OPEN_KINDS = ("card_refused", "token_refused")
by_response = pytest.mark.parametrize(("name", "status"), RESPONSES)
by_error = pytest.mark.parametrize(("name", "status"), ERRORS)
by_code = pytest.mark.parametrize(("name", "status", "code"), CODES)


@pytest.fixture(scope="module")
def contract() -> Any:
    return read_contract()


def response_of(contract: Any, name: str, status: str) -> Any:
    return operation_of(contract, name)["responses"][status]


@pytest.mark.parametrize("name", TABLE)
def test_statuses_and_codes_are_those_of_the_table(contract: Any, name: str) -> None:
    """In its order, and no others."""
    responses = operation_of(contract, name)["responses"]
    found = {
        status: list(documented.get("x-problems", {})) for status, documented in responses.items()
    }
    assert found == TABLE[name]


def test_problems_of_addresses_without_operation(contract: Any) -> None:
    """404 and 405 stand at the top, as no operation can have them."""
    problems = contract["x-problems"]
    assert {code: problem["status"] for code, problem in problems.items()} == ELSEWHERE


def test_code_has_one_status_and_one_page(contract: Any) -> None:
    """Operations that share a code share all of its explanation."""
    pages: dict[str, Any] = {**contract["x-problems"]}
    for name, status, code in CODES:
        problem = response_of(contract, name, status)["x-problems"][code]
        assert pages.setdefault(code, problem) == problem
        assert problem["example"]["status"] == int(status)


@by_response
def test_headers(contract: Any, name: str, status: str) -> None:
    """Each response has the headers that the service sends with its status, and no others."""
    expected = {"X-Request-Id": "string"}
    if status == "401":
        expected["WWW-Authenticate"] = "string"
    if status in ("409", "429", "503"):
        expected["Retry-After"] = "integer"
    headers = response_of(contract, name, status)["headers"]
    assert {name: header["type"] for name, header in headers.items()} == expected
    assert all(header["description"] for header in headers.values())


@by_error
def test_shape_of_errors(contract: Any, name: str, status: str) -> None:
    """Each error is a problem, and shows one of its kinds as an example."""
    response = response_of(contract, name, status)
    assert response["schema"] == PROBLEM
    kinds = response["x-problems"].values()
    (media_type, example), *others = response["examples"].items()
    assert media_type == PROBLEM_JSON
    assert not others
    assert example in [kind["example"] for kind in kinds]


@pytest.mark.parametrize("name", TABLE)
def test_types_of_responses(contract: Any, name: str) -> None:
    """`produces` has each type of a response, and no other."""
    operation = operation_of(contract, name)
    types = {one for response in operation["responses"].values() for one in response["examples"]}
    assert set(operation["produces"]) == types == {"application/json", PROBLEM_JSON}


@by_code
def test_kind_of_error(contract: Any, name: str, status: str, code: str) -> None:
    """Each code is explained, is named in the response's description, and has an example."""
    response = response_of(contract, name, status)
    problem = response["x-problems"][code]
    assert f"- `{code}`: {problem['title']}" in response["description"]
    assert_kind(contract, problem, int(status), code)


@pytest.mark.parametrize(("code", "status"), ELSEWHERE.items())
def test_kind_of_error_without_operation(contract: Any, code: str, status: int) -> None:
    assert_kind(contract, contract["x-problems"][code], status, code)


def assert_kind(contract: Any, problem: Any, status: int, code: str) -> None:
    """Compare one kind of error with its example."""
    assert set(problem) - {"status", "retired"} == {"title", "meaning", "remedy", "example"}
    assert all(problem[name] for name in ("title", "meaning", "remedy"))
    example = problem["example"]
    assert faults_of_value(contract, PROBLEM, example) == []
    assert set(example) <= set(contract["definitions"]["Problem"]["properties"])
    assert example["type"] == f"{contract['basePath']}/problems/{code}"
    assert (example["title"], example["status"]) == (problem["title"], status)


@by_code
def test_examples_have_the_listed_codes(contract: Any, name: str, status: str, code: str) -> None:
    """Only where Stripe may add codes does an example have another; there it is an unlisted one."""
    example = response_of(contract, name, status)["x-problems"][code]["example"]
    if code not in OPEN_KINDS:
        assert example["code"] == code
    else:
        assert example["code"] == code or example["code"] not in TABLE[name][status]


def test_resource_missing_says_how_to_target_a_token(contract: Any) -> None:
    """By the header that Stripe wants."""
    problem = response_of(contract, POST, "422")["x-problems"]["resource_missing"]
    assert "Coord" in problem["remedy"]
    assert "`Stripe-Account: " in problem["remedy"]
    assert "`Stripe-Account: " in problem["example"]["detail"]
