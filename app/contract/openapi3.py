"""The contract as OpenAPI 3.0, derived from the Swagger document, for tools that refuse 2.0.

https://spec.openapis.org/oas/v3.0.3. Forms and OAuth 2, which the contract does not use, are not
converted.
"""

from typing import Any

from app.contract.document import Document

# Members of a Swagger parameter or header that remain beside its schema.
OUTSIDE_SCHEMA = ("name", "in", "description", "required")
# https://spec.openapis.org/oas/v3.0.3#style-values
COLLECTIONS = {"csv": {"explode": False}, "multi": {"explode": True}}


def from_swagger(swagger: Document) -> Document:
    """Return the same contract as OpenAPI 3.0.

    Args:
        swagger: the document as it is served.
    """
    document = _rename_references(swagger)
    base = document.get("basePath", "/")
    host = f"//{document['host']}" if "host" in document else ""
    schemes = [f"{scheme}:" for scheme in document["schemes"]] if host else [""]
    kept = {
        name: value
        for name, value in document.items()
        if name in ("info", "tags", "externalDocs", "security") or name.startswith("x-")
    }
    return {
        "openapi": "3.0.3",
        **kept,
        "servers": [{"url": f"{scheme}{host}{base}"} for scheme in schemes],
        "paths": {path: _path(document, item) for path, item in document["paths"].items()},
        "components": {
            "schemas": document.get("definitions", {}),
            "securitySchemes": {
                name: _security_scheme(scheme)
                for name, scheme in document.get("securityDefinitions", {}).items()
            },
        },
    }


def _path(document: Document, item: Document) -> Document:
    return {
        key: [_parameter(one) for one in value]
        if key == "parameters"
        else _operation(document, value)
        for key, value in item.items()
    }


def _operation(document: Document, swagger: Document) -> Document:
    operation = {
        name: value for name, value in swagger.items() if name not in ("consumes", "produces")
    }
    parameters = swagger.get("parameters", [])
    operation["parameters"] = [_parameter(one) for one in parameters if one["in"] != "body"]
    for body in (one for one in parameters if one["in"] == "body"):
        types = swagger.get("consumes") or document.get("consumes") or []
        content = {one: {"schema": body["schema"]} for one in types}
        operation["requestBody"] = {**_described(body), "content": content}
    produced = swagger.get("produces") or document.get("produces") or []
    operation["responses"] = {
        status: _response(response, produced) for status, response in swagger["responses"].items()
    }
    return operation


def _parameter(swagger: Document) -> Document:
    schema = {name: value for name, value in swagger.items() if name not in OUTSIDE_SCHEMA}
    collection = COLLECTIONS.get(schema.pop("collectionFormat", ""), {})
    return {
        "name": swagger["name"],
        "in": swagger["in"],
        **_described(swagger),
        **collection,
        "schema": schema,
    }


def _response(swagger: Document, produced: list[str]) -> Document:
    response = {
        name: value for name, value in swagger.items() if name not in ("schema", "examples")
    }
    if "headers" in swagger:
        response["headers"] = {name: _header(one) for name, one in swagger["headers"].items()}
    if "schema" in swagger:
        examples = swagger.get("examples", {})
        # Swagger 2.0 has one list of types for all responses; the examples tell which are used.
        response["content"] = {
            one: {
                "schema": swagger["schema"],
                **({"example": examples[one]} if one in examples else {}),
            }
            for one in examples or produced
        }
    return response


def _header(swagger: Document) -> Document:
    extensions = {name: value for name, value in swagger.items() if name.startswith("x-")}
    schema = {
        name: value
        for name, value in swagger.items()
        if name != "description" and name not in extensions
    }
    return {**_described(swagger), **extensions, "schema": schema}


def _security_scheme(swagger: Document) -> Document:
    described = _described(swagger)
    if swagger["type"] == "basic":
        return {**described, "type": "http", "scheme": "basic"}
    if swagger.get("x-authentication-scheme") == "Bearer":
        return {**described, "type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return swagger


def _described(swagger: Document) -> Document:
    return {name: swagger[name] for name in ("description", "required") if name in swagger}


def _rename_references(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: value.replace("#/definitions/", "#/components/schemas/")
            if key == "$ref"
            else _rename_references(value)
            for key, value in node.items()
        }
    return [_rename_references(one) for one in node] if isinstance(node, list) else node
