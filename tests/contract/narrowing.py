"""What one schema allows and another does not: the core of what breaks a client.

A request breaks where the new schema is narrower than the old one; an answer breaks where the old
schema is narrower than the new one, as clients were promised the old.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]

# The higher they are, the fewer values they allow; and the other way round.
LOWER_LIMITS = ("minLength", "minItems", "minimum")
UPPER_LIMITS = ("maxLength", "maxItems", "maximum")
# Of these it can only be seen that they differ.
TESTS = ("pattern", "format", "multipleOf", "uniqueItems")
SPOKEN = frozenset({"title", "description", "example", "x-example", "default"})
KNOWN = frozenset(
    {
        *(*LOWER_LIMITS, *UPPER_LIMITS, *TESTS, *SPOKEN),
        *("type", "enum", "required", "properties", "additionalProperties", "items", "readOnly"),
        "x-echoed",
    }
)


class Change(NamedTuple):
    """One rule that allows less.

    Attributes:
        where: the property, `` for the whole value.
        keyword: of JSON Schema; `properties` where a name is not allowed any more.
        wide, narrow: its value where more is allowed, and where less.
    """

    where: str
    keyword: str
    wide: Any
    narrow: Any


def flat(document: Schema, schema: Schema) -> Schema:
    """Return a schema without references and without `allOf`.

    Raises:
        NotImplementedError: it says something that is not understood here, so that a break of it
            would go unseen.
    """
    while "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    made = {name: value for name, value in schema.items() if name not in SPOKEN | {"allOf"}}
    if "properties" in made:
        made["properties"] = {
            name: flat(document, one) for name, one in schema["properties"].items()
        }
    if "items" in made:
        made["items"] = flat(document, schema["items"])
    for part in schema.get("allOf", []):
        made = _both(made, flat(document, part))
    for keyword in made:
        if keyword not in KNOWN:
            raise NotImplementedError(f"the keyword {keyword}")
    return made


def narrowed(wide: Schema, narrow: Schema, where: str = "") -> Iterator[Change]:
    """Yield why a value that is good by `wide` may be bad by `narrow`; both are flat."""
    if _types(wide) - _types(narrow):
        yield Change(where, "type", wide.get("type", "any"), narrow.get("type"))
    yield from _narrowed_limits(wide, narrow, where)
    for keyword in TESTS:
        if narrow.get(keyword) not in (None, False, wide.get(keyword)):
            if keyword == "pattern" and _patterns(wide) <= _patterns(narrow):
                continue
            yield Change(where, keyword, wide.get(keyword), narrow[keyword])
    if "enum" in narrow and any(
        value not in narrow["enum"] for value in wide.get("enum", [object()])
    ):
        yield Change(where, "enum", wide.get("enum"), narrow["enum"])
    for name in narrow.get("required", []):
        if name not in wide.get("required", []):
            yield Change(_under(where, name), "required", False, True)
    if narrow.get("readOnly") and not wide.get("readOnly"):
        yield Change(where, "readOnly", False, True)
    yield from _narrowed_members(wide, narrow, where)


def _narrowed_limits(wide: Schema, narrow: Schema, where: str) -> Iterator[Change]:
    for keyword in LOWER_LIMITS:
        if narrow.get(keyword, float("-inf")) > wide.get(keyword, float("-inf")):
            yield Change(where, keyword, wide.get(keyword), narrow[keyword])
    for keyword in UPPER_LIMITS:
        if narrow.get(keyword, float("inf")) < wide.get(keyword, float("inf")):
            yield Change(where, keyword, wide.get(keyword), narrow[keyword])


def _narrowed_members(wide: Schema, narrow: Schema, where: str) -> Iterator[Change]:
    is_open = wide.get("additionalProperties", True) is not False
    is_closed = narrow.get("additionalProperties", True) is False
    if is_open and is_closed:
        yield Change(where, "additionalProperties", True, False)
    known = narrow.get("properties", {})
    for name, one in wide.get("properties", {}).items():
        if name in known:
            yield from narrowed(one, known[name], _under(where, name))
        elif is_closed:
            yield Change(_under(where, name), "properties", True, False)
    if "items" in narrow:
        yield from narrowed(wide.get("items", {}), narrow["items"], f"{where}[]")


def _patterns(schema: Schema) -> set[str | None]:
    """Return a pattern's alternatives: `^(a|b)_` stands for `^a_` and `^b_`."""
    pattern = schema.get("pattern")
    found = re.search(r"\(([a-z|]+)\)", pattern or "")
    if not found:
        return {pattern}
    return {pattern.replace(found[0], one) for one in found[1].split("|")}


def _types(schema: Schema) -> set[str]:
    result = schema.get("type", ["array", "boolean", "number", "object", "string", "null"])
    types = {result} if isinstance(result, str) else set(result)
    return types | {"integer"} if "number" in types else types


def _both(one: Schema, other: Schema) -> Schema:
    """Return what both schemas demand together."""
    made = {**one}
    for keyword, value in other.items():
        if keyword not in made or made[keyword] == value:
            made[keyword] = value
        elif keyword == "required":
            made[keyword] = [*made[keyword], *(name for name in value if name not in made[keyword])]
        elif keyword == "properties":
            made[keyword] = {
                **made[keyword],
                **{name: _both(made[keyword].get(name, {}), it) for name, it in value.items()},
            }
        elif keyword == "additionalProperties":
            made[keyword] = False
        else:
            raise NotImplementedError(f"two values of {keyword} in `allOf`")
    return made


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
