"""The strict reader of JSON: what it accepts, what it refuses, and with which message."""

import json

import pytest

from app.strict_json import MOST_NESTED, InvalidJson, parse


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2.5, 1e3, "é", None, True, {}]},
        [],
        "text",
        0,
        99999999999999999999,
        "\ud800",
        [{"a": 1}, {"a": 2}] * 100,
    ],
)
def test_json_is_parsed(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff", "is not UTF-8"),
        (b'"\xed\xa0\x80"', "is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b"", "is not valid JSON"),
        (b"{'a': 1}", "is not valid JSON"),
        (b"[1,]", "is not valid JSON"),
        (b'"\n"', "is not valid JSON"),
        (b"{}{}", "is not valid JSON"),
        ('{"a": 1}'.encode("utf-8-sig"), "is not valid JSON"),
        (b'{"a": 1, "a": 1}', "has a name twice in one object"),
        (b'[{"a": {"b": 1, "\\u0062": 2}}]', "has a name twice in one object"),
        (b"NaN", "has NaN, which is not valid JSON"),
        (b"[-Infinity]", "has -Infinity, which is not valid JSON"),
        (b"1e999", "has a number that is too large"),
        (b"-1e999", "has a number that is too large"),
        (b"9" * 21, "has a number that is too large"),
        (b"9" * 5000, "has a number that is too large"),
        (b"-" + b"9" * 20, "has a number that is too large"),
        (b"[" * 200_000, "is nested too deeply"),
        (b'{"a":' * 200_000, "is nested too deeply"),
    ],
)
def test_json_that_parsers_read_differently_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        parse(text)
    assert str(refused.value) == words
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
@pytest.mark.parametrize("inside", ["", "1", '"[[["'])
def test_nesting_is_limited(opening: str, closing: str, inside: str) -> None:
    """One limit for objects and lists; brackets inside strings do not count."""
    value = inside or opening + "1" + closing
    deep = MOST_NESTED // len(closing) - (0 if inside else 1)
    parse((opening * deep + value + closing * deep).encode())
    with pytest.raises(InvalidJson, match="nested too deeply"):
        parse(("[" + opening * deep + value + closing * deep + "]").encode())


def test_siblings_do_not_count_as_nesting() -> None:
    assert parse(b"[" + b"[]," * 1000 + b"[]]") == [[]] * 1001
