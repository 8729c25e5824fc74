"""Requests to Stripe and its answers, held against Stripe's own OpenAPI document.

`tests/data/stripe_openapi.json` is cut from https://github.com/stripe/openapi (MIT License; its
notice is in the file). Requests must fit it exactly; answers may have members that it lacks, as
Stripe's have.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[1] / "data" / "stripe_openapi.json"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

# What broke the document in the test that runs; `tests/conftest.py` fails the test for it.
found: list[str] = []


def watch(method: str, url: str, body: str) -> None:
    """Note what is wrong with a request."""
    found.extend(f"{method} {url}: {fault}" for fault in request_faults(method, url, body))


def watch_answer(method: str, url: str, status: int, body: object) -> None:
    """Note what is wrong with an answer."""
    faults = answer_faults(method, url, status, body)
    found.extend(f"answer {status} to {method} {url}: {fault}" for fault in faults)


def request_faults(method: str, url: str, body: str) -> list[str]:
    """Return what is wrong with a request: its path, its query, its form."""
    path = urlsplit(url).path
    operation = _operation(method, path)
    if operation is None:
        return ["there is no such operation"]
    query, form = _parsed(urlsplit(url).query), _parsed(body)
    faults = []
    for name, value in query.items():
        validator = _query_validators(method, operation).get(name)
        if validator is None:
            faults.append(f"unknown query parameter {name}")
        else:
            faults += _faults(validator, _typed(validator.schema, value))
    validator = _form_validator(method, operation)
    return faults + _faults(validator, _typed(validator.schema, form))


def answer_faults(method: str, url: str, status: int, body: object) -> list[str]:
    """Return what is wrong with the body of an answer."""
    operation = _operation(method, urlsplit(url).path)
    if operation is None:
        # Stripe's answer to that is an error like any other.
        operation, method, status = "/v1/customers", "get", 404
    return _faults(_answer_validator(method, operation, status == 200), body)


@functools.cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = _nullable(json.loads(FILE.read_text("utf-8")))
    return loaded


def _nullable(node: Any, is_properties: bool = False) -> Any:
    """Write OpenAPI 3.0's `nullable` as JSON Schema has it."""
    if isinstance(node, list):
        return [_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {
        name: _nullable(value, name == "properties" and not is_properties)
        for name, value in node.items()
    }
    if is_properties or not node.pop("nullable", False):
        return node
    if "anyOf" in node:
        node["anyOf"] = [*node["anyOf"], {"type": "null"}]
    elif "type" in node:
        node["type"] = [node["type"], "null"]
        if "enum" in node:
            node["enum"] = [*node["enum"], None]
    elif "$ref" in node:
        return {"anyOf": [node, {"type": "null"}]}
    return node


@functools.cache
def _paths() -> list[tuple[str, re.Pattern[str]]]:
    return [(path, re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path))) for path in document()["paths"]]


def _operation(method: str, path: str) -> str | None:
    """Return the path of an operation as the document names it."""
    for name, pattern in _paths():
        if pattern.fullmatch(path) and method.lower() in document()["paths"][name]:
            return name
    return None


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document()["components"]})


@functools.cache
def _query_validators(method: str, operation: str) -> dict[str, Draft202012Validator]:
    parameters = document()["paths"][operation][method.lower()].get("parameters", [])
    return {one["name"]: _validator(one["schema"]) for one in parameters if one["in"] == "query"}


@functools.cache
def _form_validator(method: str, operation: str) -> Draft202012Validator:
    content = document()["paths"][operation][method.lower()]["requestBody"]["content"]
    return _validator((content.get(FORM) or next(iter(content.values())))["schema"])


@functools.cache
def _answer_validator(method: str, operation: str, is_success: bool) -> Draft202012Validator:
    responses = document()["paths"][operation][method.lower()]["responses"]
    return _validator(responses["200" if is_success else "default"]["content"][JSON]["schema"])


def _faults(validator: Draft202012Validator, value: object) -> list[str]:
    return [
        f"{'/'.join(map(str, error.path))}: {error.message[:200]}"
        for error in validator.iter_errors(value)
    ]


def _parsed(text: str) -> dict[str, Any]:
    """Return the parameters of a form or query, nested by their brackets."""
    tree: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        *path, last = re.findall(r"[^\[\]]+", name)
        here = tree
        for step in path:
            here = here.setdefault(step, {})
        here[last] = value
    return {name: _with_lists(value) for name, value in tree.items()}


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdigit() for name in value):
        return [_with_lists(value[name]) for name in sorted(value, key=int)]
    return {name: _with_lists(one) for name, one in value.items()}


def _typed(schema: dict[str, Any], value: Any) -> Any:
    """Return a form's value with the types that its schema allows: a form has only texts."""
    choices = [schema, *schema.get("anyOf", [])]
    if isinstance(value, dict):
        properties: dict[str, Any] = {}
        for choice in choices:
            properties.update(choice.get("properties") or {})
        return {name: _typed(properties.get(name, {}), one) for name, one in value.items()}
    types = {choice.get("type") for choice in choices}
    if "integer" in types and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if "boolean" in types and value in ("true", "false"):
        return value == "true"
    return value
