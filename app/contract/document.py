"""The contract: read, checked at the start, and served.

https://swagger.io/specification/v2/
"""

import copy
import importlib
import importlib.resources
import re
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
# RFC 9110, section 9.2.1: they change nothing. The service's operations with these methods do not
# wait for Stripe either, so they have places and threads of their own, which never all wait.
SAFE_METHODS = frozenset({"GET", "HEAD"})
# In C where PyYAML has it, as in its wheels: an eighth of the time of the one in Python.
SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SECURITY_FUNCTIONS = ("x-apikeyInfoFunc", "x-bearerInfoFunc", "x-basicInfoFunc")


@dataclass(frozen=True)
class ProblemType:
    """One kind of error, as the contract describes it (RFC 9457, section 4)."""

    code: str
    status: int
    title: str
    meaning: str
    remedy: str
    example: Document


class Contract:
    """A Swagger document.

    Args:
        document: as read from the file.

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
        """Read a document of the package `app.openapi`.

        Raises:
            ConfigurationError: it is not YAML, or as for `Contract`.
        """
        text = importlib.resources.files("app.openapi").joinpath(name).read_text("utf-8")
        try:
            return cls(yaml.load(text, Loader=SAFE_LOADER))  # noqa: S506
        except yaml.YAMLError as error:
            raise ConfigurationError(f"The contract is not valid YAML: {error}") from None

    def routed(self) -> Document:
        """Return the document for Connexion: `produces` without the type of errors.

        Of several types, Connexion wants the handler to name one. Errors are not made by handlers.
        """
        document = copy.deepcopy(self.document)
        for _, operation in operations(document):
            types = operation.get("produces") or document.get("produces") or []
            operation["produces"] = [one for one in types if one != PROBLEM_JSON]
        return document

    def served(self, host: str, scheme: str, prefix: str = "") -> Document:
        """Return the document for callers: with the address that they used, without internals.

        Args:
            host: with its port, if the caller named one.
            scheme: http or https.
            prefix: the path before the base path, if a proxy serves the API below one.
        """
        public = _without(self.document, SECURITY_FUNCTIONS)
        for name in _also_parameters(self.document):
            # Connexion needs the scheme, but generated clients refuse two parameters of one name.
            del public["securityDefinitions"][name]
            for holder in (public, *(operation for _, operation in operations(public))):
                for requirement in holder.get("security", []):
                    requirement.pop(name, None)
        if prefix and self.base_path:
            public = _below(prefix, self.base_path, public)
        elif prefix:
            public["basePath"] = prefix
        return {**public, "host": host, "schemes": [scheme]}


class Handlers(Resolver):  # type: ignore[misc]  # Connexion has no types
    """Finds the function of each operationId in one module.

    Args:
        module: its name.
    """

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = importlib.import_module(module)

    def resolve_function_from_operation_id(self, operation_id: str) -> Callable[..., Any]:
        """Return the function that has the operationId as its name.

        Raises:
            ResolverError: the module has no such function.
        """
        function = getattr(self._module, operation_id, None)
        if not callable(function):
            raise ResolverError(
                f"The contract's operationId {operation_id} has no function in "
                f"{self._module.__name__}"
            )
        return function  # type: ignore[no-any-return]


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield each operation, with its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict):
                yield f"{method.upper()} {path}", operation


def _check_security(document: Document) -> None:
    """Refuse a scheme without a function to check it: Connexion would start, and log a warning."""
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
                        f"{path} requires the security scheme {name}, which is not defined"
                    )


def _also_parameters(document: Document) -> list[str]:
    """Return the security schemes whose credential operations also declare as a parameter."""
    declared = {
        (parameter["in"], parameter["name"])
        for _, operation in operations(document)
        for parameter in operation.get("parameters", [])
    }
    schemes = document.get("securityDefinitions", {})
    return [name for name, it in schemes.items() if (it.get("in"), it.get("name")) in declared]


def _problem_types(document: Document) -> Iterator[ProblemType]:
    for code, described in document.get("x-problems", {}).items():
        yield _problem_type(code, described["status"], described)
    for _, operation in operations(document):
        for status, response in operation["responses"].items():
            for code, described in response.get("x-problems", {}).items():
                yield _problem_type(code, int(status), described)


def _problem_type(code: str, status: int, described: Document) -> ProblemType:
    return ProblemType(
        code,
        status,
        described["title"],
        described["meaning"],
        described["remedy"],
        described["example"],
    )


def _below(prefix: str, base_path: str, node: Any) -> Any:
    """Put a prefix before each path of the API: the base path, examples and patterns of `type`."""
    if isinstance(node, dict):
        return {
            key: _below(re.escape(prefix) if key == "pattern" else prefix, base_path, value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_below(prefix, base_path, item) for item in node]
    return node.replace(base_path, prefix + base_path) if isinstance(node, str) else node


def _without(node: Any, names: tuple[str, ...]) -> Any:
    if isinstance(node, dict):
        return {key: _without(value, names) for key, value in node.items() if key not in names}
    if isinstance(node, list):
        return [_without(item, names) for item in node]
    return node
