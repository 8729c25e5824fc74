"""Parameters of the query, the path and the headers against the contract."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.parameters import ParameterCheck
from app.errors import InvalidRequest

DECLARED: list[dict[str, Any]] = [
    {"in": "query", "name": "access_key", "type": "string", "required": True, "description": "-"},
    {"in": "query", "name": "verbose", "type": "string"},
    {"in": "query", "name": "limit", "type": "integer", "minimum": 1, "maximum": 9},
    {"in": "query", "name": "is_new", "type": "boolean"},
    {
        "in": "query",
        "name": "tags",
        "type": "array",
        "items": {"type": "string", "enum": ["a", "b"]},
    },
    {
        "in": "query",
        "name": "ids",
        "type": "array",
        "items": {"type": "integer"},
        "collectionFormat": "multi",
    },
    {"in": "path", "name": "thing-id", "type": "string", "pattern": "^[a-z]+$", "required": True},
    {"in": "header", "name": "X-Retries", "type": "integer"},
    {"in": "header", "name": "X-Needed", "type": "string", "required": True},
    {"in": "body", "name": "thing", "schema": {}},
]
check = ParameterCheck(DECLARED)


def scope(query: str = "", thing: str = "abc", **headers: str) -> dict[str, Any]:
    """Return the scope of a request that is valid but for what is given."""
    named = {"x-needed": "yes", **{name.replace("_", "-"): it for name, it in headers.items()}}
    return {
        "type": "http",
        "query_string": f"access_key=1&{query}".encode(),
        "path_params": {"thing_id": thing},
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "verbose=",
        "verbose=anything%20at%20all",
        "limit=1",
        "limit=9",
        "is_new=true",
        "tags=a,b",
        "ids=1&ids=2",
        "ids=1,2",
    ],
)
def test_query_that_follows_the_contract_is_accepted(query: str) -> None:
    check(scope(query))


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("access_key=2", "The query parameter `access_key` is given more than once."),
        ("other=s3cret", "A query parameter is unknown. Known here: `access_key`, `verbose`,"),
        ("limit=s3cret", "The query parameter `limit` has the wrong type."),
        ("limit=1.5", "The query parameter `limit` has the wrong type."),
        ("limit=0", "The query parameter `limit` breaks the contract."),
        ("limit=10", "The query parameter `limit` breaks the contract."),
        ("is_new=s3cret", "The query parameter `is_new` has the wrong type."),
        ("tags=a,s3cret", "The query parameter `tags` breaks the contract."),
        ("ids=1&ids=s3cret", "The query parameter `ids` has the wrong type."),
        ("tags=a&tags=b", "The query parameter `tags` is given more than once."),
    ],
)
def test_query_that_breaks_the_contract_is_refused(query: str, detail: str) -> None:
    """The parameter is named, and its value is not quoted."""
    with pytest.raises(InvalidRequest) as raised:
        check(scope(query))
    assert raised.value.detail.startswith(detail)
    assert "s3cret" not in raised.value.detail


def test_required_query_parameter_must_be_there() -> None:
    with pytest.raises(InvalidRequest, match="The query parameter `access_key` is missing"):
        check({**scope(), "query_string": b""})


def test_operation_without_parameters_knows_none() -> None:
    with pytest.raises(InvalidRequest, match="Known here: none"):
        ParameterCheck([])({"query_string": b"a=1"})


@pytest.mark.parametrize("thing", ["ABC", "abc\n", ""])
def test_path_parameter_is_checked(thing: str) -> None:
    """In ECMA-262, `$` is only the very end."""
    with pytest.raises(InvalidRequest, match="path parameter `thing-id` does not have the doc"):
        check(scope(thing=thing))


def test_header_is_checked() -> None:
    check(scope(x_retries="3"))
    with pytest.raises(InvalidRequest, match="header parameter `X-Retries` has the wrong type"):
        check(scope(x_retries="s3cret"))


def test_required_header_must_be_there() -> None:
    with pytest.raises(InvalidRequest, match="The header parameter `X-Needed` is missing"):
        check({**scope(), "headers": []})


FIELDS = (
    "access_key=1",
    "access_key=",
    "access_key",
    "access_key=a=b",
    "access_key=a;b",
    "access%5Fkey=1",
    "+access_key=1",
    "ACCESS_KEY=1",
    "access_key\xff=1",
    "other=1",
    "=1",
    "",
)


@given(st.lists(st.sampled_from(FIELDS), max_size=3))
def test_query_that_is_not_parsed_is_one_that_would_be_accepted(fields: list[str]) -> None:
    """A parameter of another place with a schema has every query parsed."""
    quick, thorough = ParameterCheck(DECLARED[:1]), ParameterCheck([DECLARED[0], DECLARED[7]])
    asked = {**scope(), "query_string": "&".join(fields).encode("latin-1")}
    assert refusal(quick, asked) == refusal(thorough, asked)


def refusal(one: ParameterCheck, asked: dict[str, Any]) -> str:
    """Return why a request is refused; empty if it is not."""
    try:
        one(asked)
    except InvalidRequest as error:
        return error.detail
    return ""
