"""The table of errors as the contract must have it, and the contract's parts by operation."""

import importlib.resources
from typing import Any

import yaml
from jsonschema import Draft4Validator

PROBLEM = {"$ref": "#/definitions/Problem"}
PROBLEM_JSON = "application/problem+json"
POST = "POST /user/current/stripe_info"
GET = "GET /user/current"

# Each status of each operation, with its codes. Stripe may add codes for cards and tokens: those
# have the page of the last code of 402 and of 422.
TABLE: dict[str, dict[str, list[str]]] = {
    POST: {
        "200": [],
        "400": ["invalid_request"],
        "401": ["invalid_access_key", "invalid_user_token", "user_token_expired"],
        "402": [
            "card_declined",
            "expired_card",
            "incorrect_cvc",
            "processing_error",
            "card_refused",
        ],
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
    },
    GET: {
        "200": [],
        "400": ["invalid_request"],
        "401": ["invalid_access_key", "invalid_user_token", "user_token_expired"],
        "403": ["partner_mismatch"],
        "408": ["request_timeout"],
        "413": ["payload_too_large"],
        "415": ["unsupported_media_type"],
        "500": ["internal"],
        "503": ["overloaded", "storage_unavailable", "issuer_unavailable"],
    },
}
# The problems of addresses that have no operation.
ELSEWHERE = {"not_found": 404, "method_not_allowed": 405}
RESPONSES = [(name, status) for name, table in TABLE.items() for status in table]
ERRORS = [(name, status) for name, status in RESPONSES if status != "200"]
CODES = [(name, status, code) for name, status in ERRORS for code in TABLE[name][status]]


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is given twice; PyYAML takes the last one and says nothing."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Read one mapping."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice near {node.start_mark}"
        return super().construct_mapping(node, deep)


def read_contract() -> Any:
    """Return the contract as it is shipped."""
    shipped = importlib.resources.files("app.openapi").joinpath("swagger.yaml")
    return yaml.load(shipped.read_text("utf-8"), UniqueKeys)


def operation_of(contract: Any, name: str) -> Any:
    """Return an operation by its method and path."""
    method, path = name.split(" ")
    return contract["paths"][path][method.lower()]


def faults_of_value(contract: Any, schema: Any, value: Any) -> list[str]:
    """Return the errors of a value by a schema of the contract."""
    whole = {"definitions": contract["definitions"], "allOf": [schema]}
    return [error.message for error in Draft4Validator(whole).iter_errors(value)]
