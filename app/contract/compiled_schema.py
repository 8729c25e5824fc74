"""Whether a value keeps a schema: a compiled validator says yes, and all else jsonschema judges.

jsonschema walks through a schema anew for each value; fastjsonschema makes Python code of it, once.
Its yes counts, as `tests/contract/test_compiled_schema.py` finds none that jsonschema would not
give. Its no never does: the verdict, and what is said of it, are jsonschema's.
"""

from typing import Any

import fastjsonschema
from fastjsonschema import JsonSchemaException

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
# Keywords that both read in the same way. A schema with any other is judged by jsonschema alone.
COMPILED = frozenset(
    {"type", "required", "additionalProperties", "pattern", "maxLength", "minLength"}
)
# What `definitions` hold is used by reference alone, and a reference is beyond the compiler.
SAY_NOTHING = frozenset({"description", "title", "example", "definitions", "x-echoed"})
# Numbers are left out: to one of the two, 1.0 is an integer.
TYPES = frozenset({"object", "string", "boolean"})


class Unsupported(Exception):
    """Raised when a schema is not for the compiler."""


class CompiledValidator:
    """Judges values by one schema.

    Args:
        validator: jsonschema's, with the schema.
        refuses_read_only: whether the validator is one for requests.
    """

    def __init__(self, validator: Any, *, refuses_read_only: bool = False) -> None:
        self._validator = validator
        try:
            schema = {"$schema": DRAFT_4, **_plain(validator.schema, refuses_read_only)}
            self._check: Any = fastjsonschema.compile(schema, use_default=False)
        except Unsupported:
            self._check = None

    @property
    def is_compiled(self) -> bool:
        """Whether the compiler accepts the schema."""
        return self._check is not None

    def is_valid(self, value: Any) -> bool:
        """Check a value against the schema."""
        if self._check is not None:
            try:
                self._check(value)
            except JsonSchemaException:
                pass
            else:
                return True
        return bool(self._validator.is_valid(value))


def _plain(schema: Any, refuses_read_only: bool) -> dict[str, Any]:
    """Return a schema of Swagger's as JSON Schema, draft 4, or as something stricter."""
    plain: dict[str, Any] = {}
    for keyword, told in schema.items():
        if keyword == "readOnly":
            if told and refuses_read_only:
                return {"not": {}}
        elif keyword == "properties":
            plain[keyword] = {name: _plain(it, refuses_read_only) for name, it in told.items()}
        elif keyword == "allOf":
            plain[keyword] = [_plain(it, refuses_read_only) for it in told]
        elif (keyword == "type" and told not in TYPES) or (
            keyword == "additionalProperties" and not isinstance(told, bool)
        ):
            raise Unsupported
        elif keyword in COMPILED:
            plain[keyword] = told
        elif keyword not in SAY_NOTHING:
            raise Unsupported
    return plain
