"""Requests and answers held against the contract, with jsonschema's verdict.

Connexion's own validators are built anew for each request, and quote what was sent in the answer
and in the log. These take their place as Connexion's own do, by operation.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from connexion.json_schema import Draft4RequestValidator, Draft4ResponseValidator
from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
from connexion.operations import AbstractOperation
from jsonschema import Draft4Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from starlette.datastructures import MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.contract.compiled_schema import CompiledValidator
from app.errors import InvalidRequest, UnsupportedMediaType, UsersApiError
from app.telemetry import trace


def _pattern(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    """ECMA-262 says that `$` is the end; Python's also matches before a last newline."""
    exact = re.sub(r"\$$", r"\\Z", pattern)
    if isinstance(instance, str) and not re.search(exact, instance):
        yield ValidationError("has another form")


def _read_only(_validator: Any, read_only: bool, _instance: Any, _schema: Any) -> Iterator[Any]:
    """https://swagger.io/specification/v2/ : readOnly properties are not sent in a request."""
    if read_only:
        yield ValidationError("is read-only")


RequestValidator: Any = extend(  # type: ignore[no-untyped-call]
    Draft4RequestValidator, {"pattern": _pattern, "readOnly": _read_only}
)

ResponseValidator: Any = extend(  # type: ignore[no-untyped-call]
    Draft4ResponseValidator, {"pattern": _pattern}
)

# The only charset that JSON has (RFC 8259, section 8.1); some say so.
UTF_8 = re.compile(r"(charset\s*=\s*\"?utf-?8\"?)?")
# What a caller did wrong, by the keyword of the schema; never with what it sent.
TOLD = {
    "type": "has the wrong type",
    "pattern": "does not have the documented form",
    "maxLength": "is too long",
    "minLength": "is too short",
    "readOnly": "is read-only: leave it out",
}


class RequestCheck:
    """Checks the requests of one operation.

    Args:
        app: what comes next.
        operation: what the contract says.
    """

    def __init__(self, app: ASGIApp, operation: AbstractOperation) -> None:
        self._app = app
        self._query = {one["name"]: one for one in operation.parameters if one["in"] == "query"}
        self._media_types = operation.consumes
        body = operation.request_body
        self._has_body = bool(body)
        self._body_name = operation.body_name()
        self._requires_body = body.get("required", False)
        self._validator = RequestValidator(
            operation.body_schema(), format_checker=Draft4Validator.FORMAT_CHECKER
        )
        self._verdicts = CompiledValidator(self._validator, refuses_read_only=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request and hand it on.

        Raises:
            InvalidRequest: says which field is at fault, and never what it held.
            UnsupportedMediaType: the body is not of the contract's type, in UTF-8.
        """
        self.check_query(QueryParams(scope["query_string"]))
        message = await receive()
        if self._has_body:
            headers = MutableHeaders(scope=scope)
            value = self.check_body(message["body"], headers.get("content-type", ""))
            # For Connexion, a type in capitals, or one with a bare `;`, is no JSON.
            headers["content-type"] = self._media_types[0]
            if value is not None:
                # What was checked is what the handler gets: no other parser reads it differently.
                context = scope.setdefault("extensions", {}).setdefault("connexion_context", {})
                context[self._body_name] = value
        traced = trace.current()
        traced.seconds["checks"] = time.perf_counter() - traced.began

        async def again() -> Message:
            return message

        await self._app(scope, again, send)

    def check_query(self, given: QueryParams) -> None:
        """Check that each parameter is known, given once, and given where it is required."""
        for name in given:
            if name not in self._query:
                known = ", ".join(f"`{one}`" for one in self._query) or "none"
                raise InvalidRequest(f"A query parameter is unknown. Known here: {known}.")
            if len(given.getlist(name)) > 1:
                raise InvalidRequest(f"The query parameter `{name}` is given more than once.")
        for name, parameter in self._query.items():
            if name not in given and parameter.get("required"):
                raise InvalidRequest(f"The query parameter `{name}` is missing.")

    def check_body(self, body: bytes, content_type: str) -> Any:
        """Check a body, first for what it says that it is, then for what it is.

        Returns:
            Its value; None where there is no body and need not be.
        """
        if not body:
            if self._requires_body:
                raise InvalidRequest("The request has no body.")
            return None
        media_type, _, parameters = content_type.lower().partition(";")
        if media_type.strip() not in self._media_types or not UTF_8.fullmatch(parameters.strip()):
            raise UnsupportedMediaType
        value = _read(body)
        if not self._verdicts.is_valid(value):
            raise InvalidRequest(_fault(best_match(self._validator.iter_errors(value))))
        return value


class ResponseCheck:
    """Checks the answers of one operation's handler before they are sent.

    Args:
        app: what comes next.
        operation: what the contract says.
    """

    def __init__(self, app: ASGIApp, operation: AbstractOperation) -> None:
        self._app = app
        self._verdicts = {
            int(status): CompiledValidator(ResponseValidator(operation.response_schema(status)))
            for status in operation.responses
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and check its answer.

        Raises:
            UsersApiError: the answer breaks the contract, which is our fault.
        """
        start: Message = {}

        async def checked(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            self.check(start["status"], message["body"])
            await send(start)
            await send(message)

        await self._app(scope, receive, checked)

    def check(self, status: int, body: bytes) -> None:
        """Check one answer."""
        verdicts = self._verdicts.get(status)
        if verdicts is None:
            raise UsersApiError(inner=f"the contract does not know the status {status}")
        if not verdicts.is_valid(json.loads(body)):
            raise UsersApiError(inner=f"an answer with status {status} breaks the contract")


class _Requests(RoutedAPI[RequestCheck]):  # type: ignore[misc]  # Connexion has no types
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_paths()

    def make_operation(self, operation: AbstractOperation) -> RequestCheck:
        return RequestCheck(self.next_app, operation)


class _Responses(RoutedAPI[ResponseCheck]):  # type: ignore[misc]  # Connexion has no types
    def __init__(self, *args: Any, validate_responses: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._validate = validate_responses
        self.add_paths()

    def make_operation(self, operation: AbstractOperation) -> ResponseCheck | ASGIApp:
        return ResponseCheck(self.next_app, operation) if self._validate else self.next_app


class RequestValidation(RoutedMiddleware[_Requests]):  # type: ignore[misc]  # as above
    """Takes the place of Connexion's validation of requests."""

    api_cls = _Requests


class ResponseValidation(RoutedMiddleware[_Responses]):  # type: ignore[misc]  # as above
    """Takes the place of Connexion's validation of answers."""

    api_cls = _Responses


def _fault(error: Any) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    known = ", ".join(f"`{name}`" for name in error.schema.get("properties", {}))
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"The body lacks the property `{missing[0]}`."
    if error.validator == "additionalProperties":
        return f"The body has a property that the contract does not know. Known: {known}."
    said = TOLD.get(str(error.validator), "breaks the contract")
    return f"The property `{where}` {said}." if where else f"The body {said}: it is an object."


def _read(body: bytes) -> Any:
    """Read JSON strictly (RFC 8259, sections 4 and 8.1): UTF-8, unique names, bounded numbers."""
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not UTF-8.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    except ValueError:
        raise InvalidRequest("The body is not valid JSON.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name is given twice")
    return members


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")
