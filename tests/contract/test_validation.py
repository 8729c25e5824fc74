"""Bodies and responses against the contract: the verdict is jsonschema's, and none is quoted."""

import asyncio
import copy
import json
from typing import Any

import pytest
from connexion.json_schema import Draft4RequestValidator
from hypothesis import example, given
from hypothesis import strategies as st

from app.contract.document import Contract
from app.contract.validation import RequestCheck, ResponseCheck
from app.errors import InvalidRequest, UnsupportedMediaType, UsersApiError

DOCUMENT = Contract.shipped("swagger.yaml").document
SCHEMA = DOCUMENT["definitions"]["StripeInfo"]
ANSWER = {"coord_targeted_token": "tok_1", "customer_id": "cus_1"}


class Operation:
    """The attributes of Connexion's operation that the checks read."""

    def __init__(self, schema: dict[str, Any], *, required: bool = True) -> None:
        self.parameters = [
            {"in": "query", "name": "access_key", "type": "string", "required": True},
            {"in": "query", "name": "verbose", "type": "string"},
            {"in": "header", "name": "X-Other", "type": "string"},
        ]
        self.consumes = ["application/json"]
        self.request_body = {"required": required}
        self.responses = {"200": {"schema": {}}, "204": {}}
        self._schema = schema

    def body_name(self) -> str:
        return "stripe_info"

    def body_schema(self) -> dict[str, Any]:
        return self._schema

    def response_schema(self, _status: str) -> dict[str, Any]:
        return self._schema


async def nothing(*_: Any) -> None:
    """The next ASGI application."""


def check(schema: dict[str, Any] | None = None, *, required: bool = True) -> RequestCheck:
    operation: Any = Operation(schema or SCHEMA, required=required)
    return RequestCheck(nothing, operation)


def plain_schema() -> dict[str, Any]:
    """Return the schema in jsonschema's terms: without `readOnly`, and with Python's `\\Z`."""
    schema = copy.deepcopy(SCHEMA)
    for name, result in list(schema["properties"].items()):
        if result.pop("readOnly", False):
            schema["properties"][name] = {"not": {}}
        elif "pattern" in result:
            result["pattern"] = result["pattern"].replace("$", r"\Z")
    return schema


PLAIN = Draft4RequestValidator(plain_schema())
CHECK = check()
texts = st.one_of(
    st.from_regex(r"tok_[A-Za-z0-9_]{0,5}\n?", fullmatch=True),
    st.text(max_size=8),
    st.integers(250, 258).map(lambda length: "tok_" + "a" * (length - 4)),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=5,
)
names = st.sampled_from(["coord_targeted_token", "customer_id", "more", ""])
bodies = st.one_of(values, st.dictionaries(names, st.one_of(texts, values), max_size=4))


@given(bodies)
@example({"coord_targeted_token": "tok_1"})
@example({"coord_targeted_token": "tok_1\n"})
@example({"coord_targeted_token": "tok_1", "customer_id": "cus_1"})
@example({"coord_targeted_token": "tok_" + "a" * 251})
@example({"coord_targeted_token": "tok_" + "a" * 252})
@example({"coord_targeted_token": "tok_1", "more": "tok_2"})
def test_verdict_is_jsonschemas(body: Any) -> None:
    """Accepted where plain jsonschema accepts it, else refused without quoting it."""
    raw = json.dumps(body).encode()
    if PLAIN.is_valid(body):
        CHECK.check_body(raw, "application/json")
        return
    with pytest.raises(InvalidRequest) as error:
        CHECK.check_body(raw, "application/json")
    words = str(error.value.detail)
    assert len(words) < 200
    for sent in body.values() if isinstance(body, dict) else [body]:
        assert not (isinstance(sent, str) and len(sent) > 5 and sent in words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "The body lacks the property `coord_targeted_token`."),
        ({"coord_targeted_token": 1}, "`coord_targeted_token` has the wrong type"),
        ({"coord_targeted_token": "x"}, "does not have the documented form"),
        ({"coord_targeted_token": "tok_" + "a" * 252}, "is too long"),
        ({"coord_targeted_token": "tok_1", "customer_id": "cus_1"}, "is read-only: leave it out"),
        ({"coord_targeted_token": "tok_1", "x": 1}, "Known: `coord_targeted_token`"),
        ([], "The body is not of type `object`."),
    ],
)
def test_refusal_names_the_field_at_fault(body: Any, words: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        CHECK.check_body(json.dumps(body).encode(), "application/json")
    assert words in str(error.value.detail)


def test_keyword_that_has_no_words_of_its_own_is_refused_all_the_same() -> None:
    """Contracts grow."""
    with pytest.raises(InvalidRequest, match="breaks the contract"):
        check({"type": "object", "maxProperties": 0}).check_body(b'{"a": 1}', "application/json")


def test_property_that_may_be_written_may_be_sent() -> None:
    """`readOnly: false` says what holds without it."""
    schema = {"type": "object", "properties": {"a": {"type": "array", "readOnly": False}}}
    check(schema).check_body(b'{"a": []}', "application/json")


def test_body_that_need_not_be_there() -> None:
    check(required=False).check_body(b"", "")
    with pytest.raises(InvalidRequest, match="no body"):
        CHECK.check_body(b"", "")


def test_operation_without_a_body_takes_any() -> None:
    """The body is not read."""
    operation: Any = Operation(SCHEMA)
    operation.request_body = {}
    heard: list[Any] = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        heard.append(await receive())

    message = {"type": "http.request", "body": b"anything"}

    async def receive() -> Any:
        return message

    scope = {"type": "http", "query_string": b"access_key=1", "headers": []}
    asyncio.run(RequestCheck(app, operation)(scope, receive, nothing))
    assert heard == [message]


@pytest.mark.parametrize(
    ("body", "found"), [(b"", {}), (b'{"coord_targeted_token": "tok_1"}', {"stripe_info"})]
)
def test_what_was_checked_is_what_the_handler_gets(body: bytes, found: Any) -> None:
    """The body is parsed once: another parser could read it differently."""

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    headers = [(b"content-type", b"application/json")]
    scope: dict[str, Any] = {"type": "http", "query_string": b"access_key=1", "headers": headers}
    asyncio.run(check(required=False)(scope, receive, nothing))
    context = scope.get("extensions", {}).get("connexion_context", {})
    assert context.keys() == set(found)
    assert context.get("stripe_info", json.loads(body or b"null")) == json.loads(body or b"null")


def test_property_that_is_said_not_to_be_read_only_is_taken() -> None:
    schema = {"type": "object", "properties": {"a": {"readOnly": False}}}
    check(schema).check_body(b'{"a": 1}', "application/json")


@pytest.mark.parametrize("content_type", ["", "text/json", "application/json; charset=latin-1"])
def test_other_media_types(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        CHECK.check_body(b"{}", content_type)


def responses() -> ResponseCheck:
    operation: Any = Operation(SCHEMA)
    return ResponseCheck(nothing, operation)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, ANSWER),
        (200, {"coord_targeted_token": "tok_1", "customer_id": "customer"}),
        (200, []),
        (200, {"customer_id": "cus_1"}),
    ],
)
def test_response_that_breaks_the_contract_is_a_defect(status: int, body: Any) -> None:
    """It is not sent, and the log says why without its content."""
    with pytest.raises(UsersApiError) as raised:
        responses().check(status, json.dumps(body).encode())
    assert "customer" not in str(raised.value.inner)
    assert raised.value.code == "internal"


def test_response_that_follows_the_contract_is_sent() -> None:
    responses().check(200, json.dumps(ANSWER).encode())


def test_response_without_a_schema_may_be_empty() -> None:
    responses().check(204, b"")


def test_response_of_an_unlisted_status_follows_the_default() -> None:
    """https://swagger.io/specification/v2/#responses-object."""
    operation: Any = Operation(SCHEMA)
    operation.responses = {"default": {"schema": {}}}
    check_responses = ResponseCheck(nothing, operation)
    check_responses.check(418, json.dumps(ANSWER).encode())
    with pytest.raises(UsersApiError):
        check_responses.check(418, b"[]")
