"""Validators for the contract's schemas, on jsonschema, and their errors in words.

https://swagger.io/specification/v2/#schema-object
"""

import re
from collections.abc import Iterator
from typing import Any

from connexion.json_schema import Draft4RequestValidator, Draft4ResponseValidator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

# What a caller did wrong, by the keyword of the schema. The value that was sent is not repeated.
FAULTS = {
    "type": "has the wrong type",
    "pattern": "does not have the documented form",
    "maxLength": "is too long",
    "minLength": "is too short",
    "readOnly": "is read-only: leave it out",
}


def fault(error: ValidationError) -> str:
    """Return a predicate for one error of a validator; it does not quote the value."""
    return FAULTS.get(str(error.validator), "breaks the contract")


def _pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """In ECMA-262 `$` is the end; in Python it also matches before a last newline."""
    exact = re.sub(r"\$$", r"\\Z", pattern)
    if isinstance(instance, str) and not re.search(exact, instance):
        yield ValidationError("does not match")


def _read_only(_validator: Any, read_only: bool, _instance: Any, _schema: Any) -> Iterator[Any]:
    """A request must not have properties that are readOnly."""
    if read_only:
        yield ValidationError("is read-only")


RequestValidator: Any = extend(  # type: ignore[no-untyped-call]
    Draft4RequestValidator, {"pattern": _pattern, "readOnly": _read_only}
)

ResponseValidator: Any = extend(  # type: ignore[no-untyped-call]
    Draft4ResponseValidator, {"pattern": _pattern}
)
