"""The contract: read, checked at the start, and served.

https://swagger.io/specification/v2/
"""

import copy
import importlib
import importlib.resources
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from connexion import Resolver
from connexion.exceptions import InvalidSpecification, ResolverError
from connexion.spec import Specification

from app.errors import ConfigurationError

Document = dict[str, Any]
# RFC 9457, section 3.
PROBLEM_JSON = "application/problem+json"
SECURITY_FUNCTIONS = ("x-apikeyInfoFunc", "x-bearerInfoFunc", "x-basicInfoFunc")


@dataclass(frozen=True)
class ProblemType:
    """What the contract says of one kind of error."""

    code: str
    status: int
    title: str
    meaning: str
    remedy: str
    example: Document


class Contract:
    """One Swagger document of ours.

    Args:
        document: as it stands in the file.

    Raises:
        ConfigurationError: it is not valid, or names a function that does not exist.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.base_path: str = document.get("basePath", "")
        try:
            Specification.from_dict(copy.deepcopy(document))
        except InvalidSpecification as error:
            raise ConfigurationError(
                f"The contract is not valid Swagger: {error.message}"
            ) from None
        _check_security(document)
        self.problems = {problem.code: problem for problem in _problem_types(document)}

    @classmethod
    def shipped(cls, name: str) -> "Contract":
        """Read one of the documents that the package carries."""
        text = importlib.resources.files("app.openapi").joinpath(name).read_text("utf-8")
        try:
            return cls(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ConfigurationError(f"The contract is no YAML: {error}") from None

    def routed(self) -> Document:
        """Give the document as Connexion takes it: with the one type that handlers answer in.

        Of several types it wants a handler to name its own; the other is that of errors, which are
        made elsewhere.
        """
        document = copy.deepcopy(self.document)
        for _, operation in operations(document):
            types = operation.get("produces") or document.get("produces") or []
            operation["produces"] = [one for one in types if one != PROBLEM_JSON]
        return document

    def served(self, host: str, scheme: str) -> Document:
        """Give the document as callers see it: where it was fetched from, and without internals."""
        public = _without(self.document, SECURITY_FUNCTIONS)
        for name in _also_parameters(self.document):
            # Connexion wants the scheme, generated clients refuse a parameter named twice.
            del public["securityDefinitions"][name]
            for _, operation in operations(public):
                for requirement in operation.get("security", []):
                    requirement.pop(name, None)
        return {**public, "host": host, "schemes": [scheme]}


class Handlers(Resolver):  # type: ignore[misc]  # Connexion has no types
    """Finds an operation's function by its operationId, in one module.

    Args:
        module: where the functions are.
    """

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = importlib.import_module(module)

    def resolve_function_from_operation_id(self, operation_id: str) -> Callable[..., Any]:
        """Give the function that bears the operationId.

        Raises:
            ResolverError: there is none.
        """
        function = getattr(self._module, operation_id, None)
        if not callable(function):
            raise ResolverError(
                f"The contract's operationId {operation_id} has no function in "
                f"{self._module.__name__}"
            )
        return function  # type: ignore[no-any-return]


def _check_security(document: Document) -> None:
    """A scheme whose check is missing must not start: Connexion would only warn."""
    schemes = document.get("securityDefinitions", {})
    for name, scheme in schemes.items():
        functions = [scheme[key] for key in SECURITY_FUNCTIONS if key in scheme]
        if not functions:
            raise ConfigurationError(f"The security scheme {name} names no function to check it")
        module, _, function = functions[0].rpartition(".")
        try:
            getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError):
            raise ConfigurationError(
                f"The security scheme {name} names {functions[0]}, which does not exist"
            ) from None
    for path, operation in operations(document):
        for requirement in operation.get("security", document.get("security")) or []:
            for name in requirement:
                if name not in schemes:
                    raise ConfigurationError(
                        f"{path} wants the security scheme {name}: not defined"
                    )


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Give each operation, with its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict):
                yield f"{method.upper()} {path}", operation


def _also_parameters(document: Document) -> list[str]:
    """Tell the security schemes whose credential operations declare as a parameter as well."""
    declared = {
        (parameter["in"], parameter["name"])
        for _, operation in operations(document)
        for parameter in operation.get("parameters", [])
    }
    schemes = document.get("securityDefinitions", {})
    return [name for name, it in schemes.items() if (it.get("in"), it.get("name")) in declared]


def _problem_types(document: Document) -> Iterator[ProblemType]:
    for code, told in document.get("x-problems", {}).items():
        yield _problem_type(code, told["status"], told)
    for _, operation in operations(document):
        for status, response in operation["responses"].items():
            for code, told in response.get("x-problems", {}).items():
                yield _problem_type(code, int(status), told)


def _problem_type(code: str, status: int, told: Document) -> ProblemType:
    return ProblemType(
        code, status, told["title"], told["meaning"], told["remedy"], told["example"]
    )


def _without(node: Any, names: tuple[str, ...]) -> Any:
    if isinstance(node, dict):
        return {key: _without(value, names) for key, value in node.items() if key not in names}
    if isinstance(node, list):
        return [_without(item, names) for item in node]
    return node
