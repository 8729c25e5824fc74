"""Answers held against the contract, by a reading of it that is not the service's own."""

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import httpx
import yaml
from contract.schemas import Exact, Schema, whole

# What each answer may have without a word in the contract: it is HTTP's business, not the API's.
OF_HTTP = frozenset(
    {
        "access-control-allow-origin",
        "access-control-expose-headers",
        "cache-control",
        "connection",
        "content-length",
        "content-security-policy",
        "content-type",
        "cross-origin-resource-policy",
        "date",
        "referrer-policy",
        "transfer-encoding",
        "vary",
        "x-content-type-options",
        "x-frame-options",
    }
)
# What belongs to a status as such (RFC 9110, section 15.5.6).
BY_STATUS = {405: {"allow"}}


def operation_at(document: Schema, path: str, method: str) -> tuple[str, Schema] | None:
    """Return the operation of a request, with its name; HEAD is part of GET."""
    used = "get" if method.upper() == "HEAD" else method.lower()
    for template, methods in document["paths"].items():
        if path == document.get("basePath", "") + template and used in methods:
            return f"{used.upper()} {template}", methods[used]
    return None


def faults_of(response: httpx.Response) -> list[str]:
    """Return what of an answer of the shipped contract's operation that contract does not say."""
    asked = response.request
    return list(
        faults(
            shipped(),
            asked.method,
            asked.url.path,
            response.status_code,
            dict(response.headers),
            response.read(),
        )
    )


@cache
def shipped() -> Schema:
    """Read the contract that the package carries."""
    text = importlib.resources.files("app.openapi").joinpath("swagger.yaml").read_text("utf-8")
    document: Schema = yaml.safe_load(text)
    return document


def faults(
    document: Schema,
    method: str,
    path: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes | str,
) -> Iterator[str]:
    """Yield what of an answer the contract does not say.

    Args:
        document: the contract.
        path: with the base path, without the query.
        headers: the answer's, by lower-case name.
    """
    found = operation_at(document, path, method)
    if found is None:
        documented = [one["status"] for one in document["x-problems"].values()]
        if status not in documented:
            yield f"{status} where there is no operation"
            return
        documented: Schema = {"schema": {"$ref": "#/definitions/Problem"}, "headers": {}}
        types = ["application/problem+json"]
    elif str(status) not in found[1]["responses"]:
        yield f"the status {status} is not documented"
        return
    else:
        documented = found[1]["responses"][str(status)]
        types = list(documented["examples"])
        yield from _faults_of_headers(documented.get("headers", {}), status, headers)
    if method.upper() == "HEAD":
        return
    if headers.get("content-type") not in types:
        yield f"the type {headers.get('content-type')} is not documented for {status}"
    try:
        value = json.loads(body)
    except ValueError:
        yield f"the body of {status} is no JSON"
        return
    for fault in _validator(json.dumps(document), json.dumps(documented["schema"])).iter_errors(
        value
    ):
        where = ".".join(map(str, fault.absolute_path)) or "the body"
        yield f"{where} of {status} breaks `{fault.validator}`"


def _faults_of_headers(
    documented: Schema, status: int, headers: Mapping[str, str]
) -> Iterator[str]:
    known = {name.lower() for name in documented} | OF_HTTP | BY_STATUS.get(status, set())
    for name in headers:
        if name not in known:
            yield f"the header {name} is not documented for {status}"
    for name, schema in documented.items():
        given = headers.get(name.lower())
        if given is None:
            yield f"the header {name} is missing from {status}"
        elif not Exact({**schema}).is_valid(read_header(schema, given)):
            yield f"the header {name} of {status} has another form"


def read_header(schema: Schema, value: str) -> Any:
    """Read a header's text as its type says; what is no number stays text."""
    is_number = schema["type"] == "integer" and value.removeprefix("-").isdecimal()
    return int(value) if is_number else value


@cache
def _validator(document: str, schema: str) -> Any:
    """Build a validator once; JSON stands for both, as dictionaries are no keys."""
    return Exact(whole(json.loads(document), json.loads(schema), "#"))
