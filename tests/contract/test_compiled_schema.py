"""The compiled validator: it takes nothing that jsonschema does not."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from app.contract.compiled_schema import CompiledValidator
from app.contract.document import Contract
from app.contract.validation import RequestValidator, ResponseValidator

DOCUMENT = Contract.shipped("swagger.yaml").document
SCHEMA = DOCUMENT["definitions"]["StripeInfo"]
ANSWER_SCHEMA = {
    "title": "SavedStripeInfo",
    "type": "object",
    "allOf": [
        SCHEMA,
        {
            "type": "object",
            "required": ["customer_id"],
            "properties": {"customer_id": {"type": "string"}},
        },
    ],
}
REQUESTS = RequestValidator(SCHEMA, format_checker=Draft4Validator.FORMAT_CHECKER)
ANSWERS = ResponseValidator(ANSWER_SCHEMA)

texts = st.one_of(
    st.from_regex(r"(tok|cus)_[A-Za-z0-9_]{0,5}\n?", fullmatch=True),
    st.text(max_size=8),
    st.integers(250, 258).map(lambda length: "tok_" + "a" * (length - 4)),
    st.sampled_from(["tok_\u0661", "tok_1\r", "tok_\U0001f600" + "a" * 249]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
names = st.sampled_from(["coord_targeted_token", "customer_id", "more", ""])
bodies = st.one_of(values, st.dictionaries(names, st.one_of(texts, values), max_size=4))


class Never:
    """Refuses all, so that a yes is the compiled validator's."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema

    def is_valid(self, _value: Any) -> bool:
        return False


@given(bodies)
@example({"coord_targeted_token": "tok_1"})
@example({"coord_targeted_token": "tok_1\n"})
@example({"coord_targeted_token": "tok_1", "customer_id": "cus_1"})
@example({"coord_targeted_token": "tok_1", "customer_id": "cus_1\n"})
@example({"coord_targeted_token": "tok_" + "a" * 251})
@example({"coord_targeted_token": "tok_" + "a" * 252})
@example({"coord_targeted_token": True})
def test_compiled_yes_is_jsonschemas_yes(body: Any) -> None:
    """And what both say together is what jsonschema says."""
    for validator, for_requests in ((REQUESTS, True), (ANSWERS, False)):
        alone = CompiledValidator(Never(validator.schema), refuses_read_only=for_requests)
        if alone.is_valid(body):
            assert validator.is_valid(body)
        both = CompiledValidator(validator, refuses_read_only=for_requests)
        assert both.is_valid(body) == validator.is_valid(body)


@pytest.mark.parametrize(
    ("validator", "body"),
    [
        (REQUESTS, {"coord_targeted_token": "tok_1"}),
        (ANSWERS, {"coord_targeted_token": "tok_1", "customer_id": "cus_1"}),
    ],
)
def test_what_is_in_order_is_taken_without_jsonschema(validator: Any, body: Any) -> None:
    """Else the compiled validator would be of no use."""
    alone = CompiledValidator(Never(validator.schema), refuses_read_only=validator is REQUESTS)
    assert alone.is_valid(body)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "string", "format": "email"},
        {"properties": {"a": {"$ref": "#/definitions/a"}}},
        {"x-nullable": True, "type": "string"},
    ],
)
def test_schema_that_the_two_may_read_differently_is_jsonschemas_alone(schema: Any) -> None:
    """Contracts grow."""
    assert not CompiledValidator(Never(schema)).is_compiled


def test_read_only_says_nothing_of_answers() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "readOnly": True}}}
    assert CompiledValidator(Never(schema)).is_valid({"a": "b"})
    assert not CompiledValidator(Never(schema), refuses_read_only=True).is_valid({"a": "b"})
