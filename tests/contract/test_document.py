"""The contract by itself: valid, complete, and true in each of its examples."""

import importlib.resources
import re
from collections.abc import Iterator
from typing import Any

import pytest
from connexion.spec import Specification
from contract.error_table import GET, POST, TABLE, faults_of_value, operation_of, read_contract
from openapi_spec_validator import OpenAPIV2SpecValidator

# Written so, a pattern means the same in ECMA-262 and in Python, but for Python's `$`.
PLAIN_PATTERN = re.compile(
    r"\^(?:[A-Za-z0-9_/ :-]|\[[A-Za-z0-9._-]+\](?:\+|\{\d+(?:,\d+)?\})?|\([a-z|]+\))+\$?"
)
by_operation = pytest.mark.parametrize("name", TABLE)


@pytest.fixture(scope="module")
def contract() -> Any:
    return read_contract()


def test_valid_swagger(contract: Any) -> None:
    """By the schema and the rules of Swagger 2.0, and a validator that is not Connexion's."""
    assert [error.message for error in OpenAPIV2SpecValidator(contract).iter_errors()] == []


def test_connexion_reads_the_same_document(contract: Any) -> None:
    """Connexion renders files as Jinja templates; this one has nothing that Jinja changes."""
    shipped = importlib.resources.files("app.openapi").joinpath("swagger.yaml")
    with importlib.resources.as_file(shipped) as path:
        assert Specification.load(path).raw == contract


def test_all_keys_are_strings(contract: Any) -> None:
    """The document is the same as JSON, which has no other keys."""
    for node in _nodes(contract):
        if isinstance(node, dict):
            assert all(isinstance(key, str) for key in node)


def test_operations_are_those_of_the_table(contract: Any) -> None:
    operations = [
        f"{method.upper()} {path}" for path, item in contract["paths"].items() for method in item
    ]
    assert operations == list(TABLE)


@by_operation
def test_both_credentials_are_required(contract: Any, name: str) -> None:
    """Both in one requirement: two requirements would be a choice."""
    assert [set(requirement) for requirement in operation_of(contract, name)["security"]] == [
        {"access_key", "user_jwt"}
    ]
    schemes = contract["securityDefinitions"]
    places = {name: (scheme["in"], scheme["name"]) for name, scheme in schemes.items()}
    assert places == {
        "access_key": ("query", "access_key"),
        "user_jwt": ("header", "Authorization"),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [(POST, {"access_key": True, "stripe_info": True}), (GET, {"access_key": True})],
)
def test_parameters_are_required(contract: Any, name: str, expected: dict[str, bool]) -> None:
    """No request does without the access key, and no POST without a body."""
    parameters = operation_of(contract, name)["parameters"]
    assert {one["name"]: one.get("required", False) for one in parameters} == expected


def test_example_of_a_saved_card(contract: Any) -> None:
    """It is the identical object with the customer's id, which a 200 must have."""
    response = operation_of(contract, POST)["responses"]["200"]
    example = response["examples"]["application/json"]
    assert faults_of_value(contract, response["schema"], example) == []
    assert set(example) == {"coord_targeted_token", "customer_id"}
    assert faults_of_value(contract, response["schema"], {"coord_targeted_token": "tok_visa"})


def test_customer_of_a_saved_card(contract: Any) -> None:
    """Generated clients read only what the 200 says of `customer_id`, so it says all of it."""
    model = contract["definitions"]["StripeInfo"]["properties"]["customer_id"]
    [_, more] = operation_of(contract, POST)["responses"]["200"]["schema"]["allOf"]
    described = more["properties"]["customer_id"]
    assert {name: described[name] for name in ("type", "pattern")} == {
        name: model[name] for name in ("type", "pattern")
    }
    assert model["description"].startswith(described["description"].removesuffix("."))


def test_example_of_a_user(contract: Any) -> None:
    """It has all members; a user without a card or a name has two."""
    response = operation_of(contract, GET)["responses"]["200"]
    example = response["examples"]["application/json"]
    assert faults_of_value(contract, response["schema"], example) == []
    assert set(example) == set(contract["definitions"]["User"]["properties"])
    least = {"external_uid": "user-1", "is_test_user": True}
    assert faults_of_value(contract, response["schema"], least) == []
    assert faults_of_value(contract, response["schema"], {**least, "stripe_info": {}})


def test_example_of_a_request(contract: Any) -> None:
    """Swagger UI fills its form with the model's examples; that is a valid body."""
    body = operation_of(contract, POST)["parameters"][1]
    properties = contract["definitions"]["StripeInfo"]["properties"]
    example = {
        name: schema["example"] for name, schema in properties.items() if not schema.get("readOnly")
    }
    assert list(example) == ["coord_targeted_token"]
    assert faults_of_value(contract, body["schema"], example) == []


def test_examples_of_schemas(contract: Any) -> None:
    """Each example within a schema is valid by that schema, and each property has one."""
    count = 0
    for model in contract["definitions"].values():
        for schema in model["properties"].values():
            if "$ref" not in schema:
                assert faults_of_value(contract, schema, schema["example"]) == []
                count += 1
    with_example = [
        node
        for node in _nodes({name: contract[name] for name in ("paths", "definitions")})
        if isinstance(node, dict) and "example" in node and "meaning" not in node
    ]
    assert len(with_example) == count


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({"coord_targeted_token": "tok_visa"}, True),
        ({"coord_targeted_token": "tok_" + "a" * 251}, True),
        ({"coord_targeted_token": "tok_" + "a" * 252}, False),
        ({"coord_targeted_token": "pm_1PaymentMethod"}, True),
        ({"coord_targeted_token": "pm_" + "a" * 253}, False),
        ({"coord_targeted_token": "pm_"}, False),
        ({"coord_targeted_token": "tok_"}, False),
        ({"coord_targeted_token": "src_1"}, False),
        ({"coord_targeted_token": "pmtok_1"}, False),
        ({"coord_targeted_token": "tok_a-b"}, False),
        ({"coord_targeted_token": "a tok_1"}, False),
        ({"coord_targeted_token": None}, False),
        ({"coord_targeted_token": "tok_1", "more": 1}, False),
        ({}, False),
        ([], False),
    ],
)
def test_bodies(contract: Any, body: Any, is_valid: bool) -> None:
    """Letters, digits and `_` after the prefix, 255 characters at most, no other property."""
    schema = operation_of(contract, POST)["parameters"][1]["schema"]
    assert (faults_of_value(contract, schema, body) == []) is is_valid


@pytest.mark.parametrize(
    ("time", "is_valid"),
    [("2026-11-27T12:00:00Z", True), ("2026-11-27T12:00:00+01:00", False), ("yesterday", False)],
)
def test_times_are_in_utc(contract: Any, time: str, is_valid: bool) -> None:
    """RFC 3339, in one of its forms."""
    schema = contract["definitions"]["UserStripeInfo"]["properties"]["last_updated"]
    assert (faults_of_value(contract, schema, time) == []) is is_valid


def test_model_shows_how_to_clone_a_payment_method(contract: Any) -> None:
    """By the partner's line in curl, and with what Stripe recommends before."""
    description = contract["definitions"]["StripeInfo"]["description"]
    assert "curl https://api.stripe.com/v1/payment_methods" in description
    assert "-d payment_method=pm_abc" in description
    assert '-H "Stripe-Account: acct_' in description
    assert "SetupIntent" in description


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


def test_who_charges_learns_which_card_to_name(contract: Any) -> None:
    """Stripe's calls differ in which default they take by themselves."""
    description = operation_of(contract, GET)["description"]
    assert "`invoice_settings.default_payment_method`" in description
    assert "`default_source`" in description


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _nodes(child)
