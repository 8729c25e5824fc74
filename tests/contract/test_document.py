"""The contract by itself: valid, whole, and true in each of its examples."""

import importlib.resources
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from connexion.spec import Specification
from jsonschema import Draft4Validator
from openapi_spec_validator import OpenAPIV2SpecValidator

PROBLEM = {"$ref": "#/definitions/Problem"}
PROBLEM_JSON = "application/problem+json"

# Each status of the operation, with its codes. Stripe may add codes for cards and tokens: those
# go by the last code of 402 and of 422.
TABLE = {
    "200": [],
    "400": ["invalid_request"],
    "401": ["invalid_access_key", "invalid_user_token", "user_token_expired"],
    "402": ["card_declined", "expired_card", "incorrect_cvc", "processing_error", "card_refused"],
    "403": ["test_user", "partner_mismatch"],
    "408": ["request_timeout"],
    "409": ["update_in_progress"],
    "413": ["payload_too_large"],
    "415": ["unsupported_media_type"],
    "422": [
        "token_already_used",
        "resource_missing",
        "token_in_use",
        "livemode_mismatch",
        "token_refused",
    ],
    "429": ["too_many_attempts"],
    "500": ["internal"],
    "503": ["stripe_unavailable", "overloaded", "storage_unavailable", "issuer_unavailable"],
}
ELSEWHERE = {"not_found": 404, "method_not_allowed": 405}
ERRORS = [status for status in TABLE if status != "200"]
CODES = [(status, code) for status in ERRORS for code in TABLE[status]]
# In the example of such a kind the code is Stripe's, and one that the contract does not list.
OPEN_KINDS = ("card_refused", "token_refused")
# Written so, a pattern means the same in ECMA-262 and in Python, but for Python's `$`.
PLAIN_PATTERN = re.compile(r"\^(?:[A-Za-z0-9_/ ]|\[[A-Za-z0-9._-]+\][+]?(?:\{\d+,\d+\})?)+\$?")


class OnceOnly(yaml.SafeLoader):
    """Refuses a key that is given twice; PyYAML takes the last one without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Read one mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice near {node.start_mark}"
        return super().construct_mapping(node, deep)


@pytest.fixture(scope="module")
def contract() -> Any:
    """Give the contract as it is shipped."""
    shipped = importlib.resources.files("app.openapi").joinpath("swagger.yaml")
    return yaml.load(shipped.read_text("utf-8"), OnceOnly)


@pytest.fixture(scope="module")
def operation(contract: Any) -> Any:
    """Give the one operation."""
    return contract["paths"]["/user/current/stripe_info"]["post"]


@pytest.fixture(scope="module")
def responses(operation: Any) -> Any:
    """Give the operation's responses, by status."""
    return operation["responses"]


def test_valid_swagger(contract: Any) -> None:
    """The Swagger 2.0 schema and its rules hold, by a validator that is not Connexion's."""
    assert [error.message for error in OpenAPIV2SpecValidator(contract).iter_errors()] == []


def test_connexion_reads_what_is_written(contract: Any) -> None:
    """Connexion takes files for templates of Jinja's: this one has nothing that Jinja changes."""
    shipped = importlib.resources.files("app.openapi").joinpath("swagger.yaml")
    with importlib.resources.as_file(shipped) as path:
        assert Specification.load(path).raw == contract


def test_all_keys_are_strings(contract: Any) -> None:
    """As JSON, which has no other keys, the document is the same."""
    for node in _nodes(contract):
        if isinstance(node, dict):
            assert all(isinstance(key, str) for key in node)


def test_statuses_and_codes(responses: Any) -> None:
    """The statuses and codes are those of the table, in its order, and no others."""
    found = {status: list(told.get("x-problems", {})) for status, told in responses.items()}
    assert found == TABLE


def test_problems_of_no_operation(contract: Any) -> None:
    """404 and 405 stand at the top, as no operation can have them."""
    told = contract["x-problems"]
    assert {code: problem["status"] for code, problem in told.items()} == ELSEWHERE


def test_code_has_one_meaning(contract: Any, responses: Any) -> None:
    """No code is used for two statuses."""
    codes = [code for told in responses.values() for code in told.get("x-problems", {})]
    codes += contract["x-problems"]
    assert len(codes) == len(set(codes))


def test_both_credentials_are_required(contract: Any, operation: Any) -> None:
    """Both in one requirement: two requirements would be a choice."""
    assert [set(requirement) for requirement in operation["security"]] == [
        {"access_key", "user_jwt"}
    ]
    schemes = contract["securityDefinitions"]
    places = {name: (scheme["in"], scheme["name"]) for name, scheme in schemes.items()}
    assert places == {
        "access_key": ("query", "access_key"),
        "user_jwt": ("header", "Authorization"),
    }


def test_parameters_are_required(operation: Any) -> None:
    """No request does without the access key or without a body."""
    required = {told["name"]: told.get("required", False) for told in operation["parameters"]}
    assert required == {"access_key": True, "stripe_info": True}


@pytest.mark.parametrize("status", TABLE)
def test_headers(responses: Any, status: str) -> None:
    """Each answer has the headers that the service sends with its status, and no others."""
    expected = {"X-Request-Id": "string"}
    if status == "401":
        expected["WWW-Authenticate"] = "string"
    if status in ("409", "429", "503"):
        expected["Retry-After"] = "integer"
    headers = responses[status]["headers"]
    assert {name: header["type"] for name, header in headers.items()} == expected
    assert all(header["description"] for header in headers.values())


@pytest.mark.parametrize("status", ERRORS)
def test_shape_of_errors(responses: Any, status: str) -> None:
    """Each error is a problem, and shows one of its kinds as an example."""
    assert responses[status]["schema"] == PROBLEM
    kinds = responses[status]["x-problems"].values()
    (media_type, example), *others = responses[status]["examples"].items()
    assert media_type == PROBLEM_JSON
    assert not others
    assert example in [kind["example"] for kind in kinds]


def test_types_of_answers(operation: Any, responses: Any) -> None:
    """Each type of an answer is among those that the operation says it gives, and no other."""
    types = {media_type for told in responses.values() for media_type in told["examples"]}
    assert set(operation["produces"]) == types == {"application/json", PROBLEM_JSON}


@pytest.mark.parametrize(("status", "code"), CODES)
def test_kind_of_error(contract: Any, responses: Any, status: str, code: str) -> None:
    """Each code is explained, is named to those who read the response, and has an example."""
    told = responses[status]["x-problems"][code]
    assert f"- `{code}`: {told['title']}" in responses[status]["description"]
    _assert_kind(contract, told, int(status), code)


@pytest.mark.parametrize(("code", "status"), ELSEWHERE.items())
def test_kind_of_error_elsewhere(contract: Any, code: str, status: int) -> None:
    """The same for what no operation has."""
    _assert_kind(contract, contract["x-problems"][code], status, code)


def test_examples_have_the_listed_codes(responses: Any) -> None:
    """Only where Stripe may add codes does an example have another; there it is an unlisted one."""
    for status, code in CODES:
        example = responses[status]["x-problems"][code]["example"]
        if code not in OPEN_KINDS:
            assert example["code"] == code
        else:
            assert example["code"] == code or example["code"] not in TABLE[status]


def test_resource_missing_says_how_to_target_a_token(responses: Any) -> None:
    """By the header that Stripe wants."""
    told = responses["422"]["x-problems"]["resource_missing"]
    assert "Coord" in told["remedy"]
    assert "`Stripe-Account: " in told["remedy"]
    assert "`Stripe-Account: " in told["example"]["detail"]


def test_example_of_success(contract: Any, responses: Any) -> None:
    """It is the identical object with the customer's id, without which a 200 is none."""
    told = responses["200"]
    example = told["examples"]["application/json"]
    assert _faults(contract, told["schema"], example) == []
    assert set(example) == {"coord_targeted_token", "customer_id"}
    assert _faults(contract, told["schema"], {"coord_targeted_token": "tok_visa"}) != []


def test_customer_of_success(contract: Any, responses: Any) -> None:
    """Generated clients take what a 200 says of `customer_id` alone, so it says all of it."""
    model = contract["definitions"]["StripeInfo"]["properties"]["customer_id"]
    [_, more] = responses["200"]["schema"]["allOf"]
    told = more["properties"]["customer_id"]
    assert {name: told[name] for name in ("type", "pattern")} == {
        name: model[name] for name in ("type", "pattern")
    }
    assert model["description"].startswith(told["description"].removesuffix("."))


def test_example_of_a_request(contract: Any, operation: Any) -> None:
    """What Swagger UI makes of the model, without what is read-only, is a valid body."""
    body = operation["parameters"][1]
    properties = contract["definitions"]["StripeInfo"]["properties"]
    example = {
        name: told["example"] for name, told in properties.items() if not told.get("readOnly")
    }
    assert list(example) == ["coord_targeted_token"]
    assert _faults(contract, body["schema"], example) == []


def test_examples_of_schemas(contract: Any) -> None:
    """Each example within a schema is valid by that schema, and each property has one."""
    count = 0
    for model in contract["definitions"].values():
        for schema in model["properties"].values():
            assert _faults(contract, schema, schema["example"]) == []
            count += 1
    with_example = [
        node
        for node in _nodes(contract)
        if isinstance(node, dict) and "example" in node and "meaning" not in node
    ]
    assert len(with_example) == count


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({"coord_targeted_token": "tok_visa"}, True),
        ({"coord_targeted_token": "tok_" + "a" * 251}, True),
        ({"coord_targeted_token": "tok_" + "a" * 252}, False),
        ({"coord_targeted_token": "tok_"}, False),
        ({"coord_targeted_token": "tok_a-b"}, False),
        ({"coord_targeted_token": "a tok_1"}, False),
        ({"coord_targeted_token": None}, False),
        ({"coord_targeted_token": "tok_1", "more": 1}, False),
        ({}, False),
        ([], False),
    ],
)
def test_bodies(contract: Any, operation: Any, body: Any, is_valid: bool) -> None:
    """Letters, digits and `_` after `tok_`, 255 characters at most, no other property."""
    schema = operation["parameters"][1]["schema"]
    assert (_faults(contract, schema, body) == []) is is_valid


def test_customer_id_is_read_only(contract: Any) -> None:
    """A client does not send it; so it may not be required (Swagger 2.0, Schema Object)."""
    model = contract["definitions"]["StripeInfo"]
    assert model["properties"]["customer_id"]["readOnly"] is True
    assert model["required"] == ["coord_targeted_token"]


def test_patterns_mean_the_same_everywhere(contract: Any) -> None:
    """Patterns are plain: no syntax of one language alone, and `$` only as the very end."""
    patterns = [
        node["pattern"] for node in _nodes(contract) if isinstance(node, dict) and "pattern" in node
    ]
    assert patterns
    for pattern in patterns:
        re.compile(pattern)
        assert "$" not in pattern[:-1]
        assert PLAIN_PATTERN.fullmatch(pattern), pattern


def _assert_kind(contract: Any, told: Any, status: int, code: str) -> None:
    """Hold what is told of one kind of error against its example."""
    assert set(told) - {"status", "retired"} == {"title", "meaning", "remedy", "example"}
    assert all(told[name] for name in ("title", "meaning", "remedy"))
    example = told["example"]
    assert _faults(contract, PROBLEM, example) == []
    assert set(example) <= set(contract["definitions"]["Problem"]["properties"])
    assert example["type"] == f"{contract['basePath']}/problems/{code}"
    assert (example["title"], example["status"]) == (told["title"], status)


def _faults(contract: Any, schema: Any, value: Any) -> list[str]:
    whole = {"definitions": contract["definitions"], "allOf": [schema]}
    return [error.message for error in Draft4Validator(whole).iter_errors(value)]


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _nodes(child)
