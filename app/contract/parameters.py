"""Parameters of the query, the path and the headers, checked against the contract.

https://swagger.io/specification/v2/#parameter-object
"""

from collections.abc import Iterable, Iterator
from typing import Any

from connexion.uri_parsing import Swagger2URIParser
from jsonschema import Draft4Validator
from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope

from app.contract.schemas import RequestValidator, fault
from app.errors import InvalidRequest

# Members of a parameter that restrict no value.
UNRESTRICTING = frozenset({"in", "name", "required", "description", "default"})


class ParameterCheck:
    """Checks the parameters of one operation that are not in the body.

    Args:
        declared: all parameters of the operation, as in the document.
    """

    def __init__(self, declared: Iterable[dict[str, Any]]) -> None:
        parameters = [one for one in declared if one["in"] in ("query", "path", "header")]
        self._query = {one["name"]: one for one in parameters if one["in"] == "query"}
        self._rules = [_Rule(one) for one in parameters if _restricts(one)]
        # The names of a query that needs no further look, as they are sent.
        self._plain_query = sorted(
            name.encode() for name, one in self._query.items() if one.get("required")
        )

    def __call__(self, scope: Scope) -> None:
        """Check the parameters of one request.

        Raises:
            InvalidRequest: one is missing, unknown, repeated or breaks its schema. Its value is not
                in the message.
        """
        if not self._rules and self._is_plain(scope["query_string"]):
            return
        query = QueryParams(scope["query_string"])
        self._check_names(query)
        for rule in self._rules:
            rule.check(scope, query)

    def _is_plain(self, query: bytes) -> bool:
        """Return whether a query has each required parameter once, and no other.

        To split a query is a tenth of the work of parsing it. A name that is percent-encoded is
        not recognised here.
        """
        names = sorted([field.partition(b"=")[0] for field in query.split(b"&")])
        return names == self._plain_query

    def _check_names(self, query: QueryParams) -> None:
        for name in query:
            parameter = self._query.get(name)
            if parameter is None:
                known = ", ".join(f"`{one}`" for one in self._query) or "none"
                raise InvalidRequest(f"A query parameter is unknown. Known here: {known}.")
            is_multiple = parameter.get("collectionFormat") == "multi"
            if not is_multiple and len(query.getlist(name)) > 1:
                raise InvalidRequest(f"The query parameter `{name}` is given more than once.")
        for name, parameter in self._query.items():
            if name not in query and parameter.get("required"):
                raise InvalidRequest(f"The query parameter `{name}` is missing.")


class _Rule:
    """The schema of one parameter."""

    def __init__(self, parameter: dict[str, Any]) -> None:
        self._parameter = parameter
        self._place, self._name = parameter["in"], parameter["name"]
        # It splits lists and reads numbers in the same way wherever a parameter is.
        self._parser = Swagger2URIParser([{**parameter, "in": "query"}], {})
        schema = {key: value for key, value in parameter.items() if key != "required"}
        self._validator = RequestValidator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)

    def check(self, scope: Scope, query: QueryParams) -> None:
        texts = list(self._texts(scope, query))
        label = f"{self._place} parameter `{self._name}`"
        if not texts:
            if self._place == "header" and self._parameter.get("required"):
                raise InvalidRequest(f"The {label} is missing.")
            return
        value = self._parser.resolve_query({self._name: texts})[self._name]
        if error := next(self._validator.iter_errors(value), None):
            raise InvalidRequest(f"The {label} {fault(error)}.")

    def _texts(self, scope: Scope, query: QueryParams) -> Iterator[str]:
        if self._place == "query":
            yield from query.getlist(self._name)
        elif self._place == "header":
            yield from Headers(scope=scope).getlist(self._name)
        else:
            # Connexion's names of path parameters are Python's.
            yield str(scope["path_params"][self._name.replace("-", "_")])


def _restricts(parameter: dict[str, Any]) -> bool:
    is_any_text = parameter["type"] == "string" and parameter.keys() <= UNRESTRICTING | {"type"}
    return not is_any_text or (parameter["in"] == "header" and parameter.get("required", False))
