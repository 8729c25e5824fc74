"""The one reader of JSON that a caller, a partner or an operator sent (RFC 8259).

It refuses what parsers read in different ways, so that no other part of the service can read the
same bytes differently (RFC 7493 and RFC 8725, section 2.6).
"""

import json
from collections.abc import Iterable
from typing import NoReturn, TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

# Objects and arrays inside each other. A JWT, a JWK Set and a request body need 5 at most.
MOST_NESTED = 64
# In characters, the sign included: the digits of 2**64, beyond which parsers begin to differ.
LONGEST_INTEGER = 20


class InvalidJson(ValueError):
    """Bytes are not strict JSON. The words are a predicate and repeat nothing of the bytes."""


def parse(text: bytes) -> Json:
    """Parse JSON in UTF-8, without a byte order mark.

    Raises:
        InvalidJson: It is not UTF-8 or not JSON; a name is given twice in one object; it holds NaN,
            an infinity or a number beyond bounds; or it is nested more than `MOST_NESTED` deep.
    """
    try:
        value: Json = _DECODER.decode(text.decode())
    except UnicodeDecodeError:
        raise InvalidJson("is not UTF-8") from None
    except RecursionError:
        raise InvalidJson("is nested too deeply") from None
    except json.JSONDecodeError:
        raise InvalidJson("is not valid JSON") from None
    # Counting is cheap, and almost no text has so many that its depth must be measured.
    if text.count(b"[") + text.count(b"{") > MOST_NESTED:
        _check_depth(value)
    return value


def _check_depth(value: Json) -> None:
    level = [value]
    for _ in range(MOST_NESTED):
        level = [
            child for one in level for child in _children(one) if isinstance(child, dict | list)
        ]
    if level:
        raise InvalidJson("is nested too deeply")


def _children(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJson("has a name twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER:
        raise InvalidJson("has a number that is too large")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise InvalidJson("has a number that is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"has {name}, which is not valid JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_refuse_constant,
)
