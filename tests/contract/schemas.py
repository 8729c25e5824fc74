"""Schemas of the contract, keyword by keyword: which of them a value keeps, and which it breaks.

A rule is one keyword at one place of the document, `#/definitions/Problem/properties/code/pattern`;
of `required`, each name is a rule of its own.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

Schema = dict[str, Any]

# Put into each schema: its place in the document.
AT = "x-at"
# What people read, and `format`, which a pattern beside it enforces.
SPOKEN = frozenset(
    {"title", "description", "example", "x-example", "default", "format", "x-echoed", AT}
)
# What holds other schemas.
HOLDS = frozenset({"properties", "allOf", "items"})
# What rules only strings, numbers, lists or objects; `type` rules all.
RULES: dict[str, tuple[type, ...]] = {
    "type": (object,),
    "enum": (object,),
    "readOnly": (object,),
    "pattern": (str,),
    "minLength": (str,),
    "maxLength": (str,),
    "minimum": (int, float),
    "maximum": (int, float),
    "minItems": (list,),
    "maxItems": (list,),
    "required": (dict,),
    "additionalProperties": (dict,),
}


class Limit(NamedTuple):
    """How a limit measures a value, and how far beyond it is one too many."""

    step: int
    measure: Any


LIMITS = {
    "minLength": Limit(-1, len),
    "maxLength": Limit(1, len),
    "minItems": Limit(-1, len),
    "maxItems": Limit(1, len),
    "minimum": Limit(-1, lambda value: value),
    "maximum": Limit(1, lambda value: value),
}


def whole(document: Schema, schema: Schema, place: str) -> Schema:
    """Return a schema without references, each part of it marked with its place.

    Raises:
        NotImplementedError: it has a keyword that is not counted here, so that the count would lie.
    """
    while "$ref" in schema:
        place = schema["$ref"]
        schema = document
        for part in place.removeprefix("#/").split("/"):
            schema = schema[part]
    made = {**schema, AT: place}
    for keyword in schema:
        if keyword not in SPOKEN | HOLDS and keyword not in RULES:
            raise NotImplementedError(f"{place}/{keyword}")
    for name, one in schema.get("properties", {}).items():
        made.setdefault("properties", {})
        made["properties"] = {
            **made["properties"],
            name: whole(document, one, f"{place}/properties/{name}"),
        }
    if "allOf" in schema:
        made["allOf"] = [
            whole(document, one, f"{place}/allOf/{number}")
            for number, one in enumerate(schema["allOf"])
        ]
    if "items" in schema:
        made["items"] = whole(document, schema["items"], f"{place}/items")
    return made


def rules(schema: Schema, *, sent: bool) -> Iterator[str]:
    """Yield all rules of a schema.

    Args:
        sent: whether by a client. Then of what is read-only only that it is: whatever its value,
            it is refused. In answers, nothing is.
    """
    for keyword in schema:
        if keyword == "readOnly" and not sent:
            continue
        if keyword == "required":
            yield from (f"{schema[AT]}/required/{name}" for name in schema["required"])
        elif keyword in RULES and not (sent and schema.get("readOnly") and keyword != "readOnly"):
            yield f"{schema[AT]}/{keyword}"
    for part in _parts(schema):
        yield from rules(part, sent=sent)


def kept(schema: Schema, value: Any) -> Iterator[str]:
    """Yield the rules that have a say on a valid value; a limit has one where it is reached."""
    for keyword in schema:
        if keyword in RULES and keyword != "readOnly" and isinstance(value, RULES[keyword]):
            if keyword == "required":
                yield from (f"{schema[AT]}/required/{name}" for name in schema["required"])
            else:
                yield f"{schema[AT]}/{keyword}"
    for name, part in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield from kept(part, value[name])
    for part in schema.get("allOf", []):
        yield from kept(part, value)
    for item in value if "items" in schema and isinstance(value, list) else []:
        yield from kept(schema["items"], item)


def reached(schema: Schema, value: Any) -> Iterator[str]:
    """Yield the limits that a valid value just reaches."""
    for rule in kept(schema, value):
        place, _, keyword = rule.rpartition("/")
        if keyword in LIMITS:
            for part, held in _places(schema, value):
                if part[AT] == place and LIMITS[keyword].measure(held) == part[keyword]:
                    yield rule


def broken(schema: Schema, value: Any, *, sent: bool) -> str | None:
    """Return the one rule that a value breaks, by one where it is a limit; None for any other."""
    faults = list((Sent if sent else Exact)(schema).iter_errors(value))
    if len(faults) != 1:
        return None
    [fault] = faults
    place, keyword = fault.schema[AT], str(fault.validator)
    if keyword == "required":
        [name] = [one for one in fault.validator_value if one not in fault.instance]
        return f"{place}/required/{name}"
    if limit := LIMITS.get(keyword):
        beyond = fault.validator_value + limit.step
        return f"{place}/{keyword}" if limit.measure(fault.instance) == beyond else None
    return f"{place}/{keyword}"


def _places(schema: Schema, value: Any) -> Iterator[tuple[Schema, Any]]:
    yield schema, value
    for name, part in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield from _places(part, value[name])
    for part in schema.get("allOf", []):
        yield from _places(part, value)
    for item in value if "items" in schema and isinstance(value, list) else []:
        yield from _places(schema["items"], item)


def _parts(schema: Schema) -> Iterator[Schema]:
    yield from schema.get("properties", {}).values()
    yield from schema.get("allOf", [])
    if "items" in schema:
        yield schema["items"]


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """In ECMA-262 a `$` is the very end; in Python a newline may follow."""
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield ValidationError("has another form")


def _read_only(_validator: Any, is_so: bool, _value: Any, _schema: Any) -> Iterator[Any]:
    if is_so:
        yield ValidationError("is read-only")


# Answers, by the letter; and requests, in which nothing may stand that is read-only.
Exact: Any = extend(Draft4Validator, {"pattern": _pattern})
Sent: Any = extend(Exact, {"readOnly": _read_only})
