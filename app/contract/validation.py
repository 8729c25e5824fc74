"""Requests and responses checked against the contract; the verdict is jsonschema's.

Connexion's own checks build their validators for each request, and quote the request in the
response and in the log. These are installed in their place, once for each operation.
"""

import json
import time
from typing import Any

from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
from connexion.operations import AbstractOperation
from connexion.utils import all_json
from jsonschema import Draft4Validator
from jsonschema.exceptions import best_match
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.http import parse_options_header

from app import strict_json
from app.contract.compiled_schema import CompiledValidator
from app.contract.parameters import ParameterCheck
from app.contract.schemas import RequestValidator, ResponseValidator, fault
from app.errors import InvalidRequest, UnsupportedMediaType, UsersApiError
from app.telemetry import trace

# The only charset of JSON (RFC 8259, section 8.1), which some clients name.
UTF_8 = ("utf-8", "utf8")
# Longer than any that a client sends, so that to parse it takes no time worth mentioning.
MAX_MEDIA_TYPE = 255


class RequestCheck:
    """Checks the requests of one operation.

    Args:
        app: the next ASGI application.
        operation: as in the contract.
    """

    def __init__(self, app: ASGIApp, operation: AbstractOperation) -> None:
        self._app = app
        self._check_parameters = ParameterCheck(operation.parameters)
        self._media_types = operation.consumes
        body = operation.request_body
        self._has_body = bool(body)
        self._body_name = operation.body_name()
        self._requires_body = body.get("required", False)
        self._validator = RequestValidator(
            operation.body_schema(), format_checker=Draft4Validator.FORMAT_CHECKER
        )
        self._compiled = CompiledValidator(self._validator, refuses_read_only=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request and pass it on.

        Raises:
            InvalidRequest: it names the field that is wrong, and never its value.
            UnsupportedMediaType: the body is not of the contract's type, in UTF-8.
        """
        self._check_parameters(scope)
        message = await receive()
        if self._has_body:
            headers = MutableHeaders(scope=scope)
            content_type = headers.get("content-type", "")
            value = self.check_body(message["body"], content_type)
            if content_type != self._media_types[0]:
                # Connexion does not recognise JSON by a type in capitals or with a bare `;`.
                headers["content-type"] = self._media_types[0]
            if value is not None:
                # The handler gets the value that was checked: no other parser reads the body.
                context = scope.setdefault("extensions", {}).setdefault("connexion_context", {})
                context[self._body_name] = value
        traced = trace.current()
        traced.seconds["checks"] = time.perf_counter() - traced.began

        async def receive_again() -> Message:
            return message

        await self._app(scope, receive_again, send)

    def check_body(self, body: bytes, content_type: str) -> Any:
        """Check a body: first its type, then its value.

        Returns:
            The value; None where there is no body and none is required.

        Raises:
            InvalidRequest, UnsupportedMediaType: as for a request.
        """
        if not body:
            if self._requires_body:
                raise InvalidRequest("The request has no body.")
            return None
        if content_type not in self._media_types:
            self._check_media_type(content_type)
        try:
            value = strict_json.parse(body)
        except strict_json.InvalidJson as error:
            raise InvalidRequest(f"The body {error}.") from None
        if not self._compiled.is_valid(value):
            raise InvalidRequest(_detail(best_match(self._validator.iter_errors(value))))
        return value

    def _check_media_type(self, content_type: str) -> None:
        """Check a type that is written in another way than the contract's, or has parameters.

        Raises:
            UnsupportedMediaType: it is another type, or in another charset.
        """
        if len(content_type) > MAX_MEDIA_TYPE:
            raise UnsupportedMediaType
        media_type, parameters = parse_options_header(content_type.lower())
        # JSON has no parameters (RFC 8259, section 11), but clients add some.
        if media_type not in self._media_types or parameters.get("charset", "utf-8") not in UTF_8:
            raise UnsupportedMediaType


class ResponseCheck:
    """Checks the responses of one operation's handler before they are sent.

    Args:
        app: the next ASGI application.
        operation: as in the contract.
    """

    def __init__(self, app: ASGIApp, operation: AbstractOperation) -> None:
        self._app = app
        self._validators = {
            status: CompiledValidator(ResponseValidator(operation.response_schema(status)))
            if "schema" in response
            else None
            for status, response in operation.responses.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and check its response.

        Raises:
            UsersApiError: the response breaks the contract, which is a defect of the service.
        """
        if scope["method"] == "HEAD":
            # There is no body to check (RFC 9110, section 9.3.2).
            await self._app(scope, receive, send)
            return
        start: Message = {}

        async def check_and_send(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            self.check(start["status"], message["body"])
            await send(start)
            await send(message)

        await self._app(scope, receive, check_and_send)

    def check(self, status: int, body: bytes) -> None:
        """Check one response.

        Raises:
            UsersApiError: as for a request.
        """
        key = str(status) if str(status) in self._validators else "default"
        if key not in self._validators:
            raise UsersApiError(inner=f"the contract does not list the status {status}")
        validator = self._validators[key]
        if validator and not validator.is_valid(json.loads(body)):
            raise UsersApiError(inner=f"a response with status {status} breaks the contract")


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
        is_checked = self._validate and all_json(operation.produces)
        return ResponseCheck(self.next_app, operation) if is_checked else self.next_app


class RequestValidation(RoutedMiddleware[_Requests]):  # type: ignore[misc]  # as above
    """The middleware in the place of Connexion's validation of requests."""

    api_cls = _Requests


class ResponseValidation(RoutedMiddleware[_Responses]):  # type: ignore[misc]  # as above
    """The middleware in the place of Connexion's validation of responses."""

    api_cls = _Responses


def _detail(error: Any) -> str:
    """Return a sentence on one error of a body that names the property and not its value."""
    known = ", ".join(f"`{name}`" for name in error.schema.get("properties", {}))
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"The body lacks the property `{missing[0]}`."
    if error.validator == "additionalProperties":
        return f"The body has a property that the contract does not know. Known: {known}."
    where = ".".join(str(part) for part in error.absolute_path)
    if where:
        return f"The property `{where}` {fault(error)}."
    if error.validator == "type":
        return f"The body is not of type `{error.validator_value}`."
    return f"The body {fault(error)}."
