"""The derivation of OpenAPI 3.0, also of what the shipped contract does not have."""

from typing import Any

from app.contract.openapi3 import from_swagger

SWAGGER: dict[str, Any] = {
    "swagger": "2.0",
    "info": {"title": "Odd", "version": "1"},
    "schemes": ["https"],
    "consumes": ["application/json"],
    "produces": ["application/json"],
    "securityDefinitions": {
        "basic": {"type": "basic"},
        "key": {"type": "apiKey", "in": "query", "name": "key"},
    },
    "paths": {
        "/things/{id}": {
            "parameters": [{"in": "path", "name": "id", "type": "string", "required": True}],
            "get": {
                "parameters": [
                    {
                        "in": "query",
                        "name": "tags",
                        "type": "array",
                        "items": {"type": "string"},
                        "collectionFormat": "csv",
                    }
                ],
                "responses": {"204": {"description": "Nothing"}},
            },
        }
    },
}


def test_parameters_have_a_schema() -> None:
    """Those of a path as well; lists keep their form."""
    item = from_swagger(SWAGGER)["paths"]["/things/{id}"]
    assert item["parameters"] == [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    assert item["get"]["parameters"] == [
        {
            "name": "tags",
            "in": "query",
            "explode": False,
            "schema": {"type": "array", "items": {"type": "string"}},
        }
    ]


def test_response_without_a_schema_has_no_content() -> None:
    get = from_swagger(SWAGGER)["paths"]["/things/{id}"]["get"]
    assert get["responses"] == {"204": {"description": "Nothing"}}


def test_security_schemes_of_each_kind_are_converted() -> None:
    """Basic is a scheme of HTTP in OpenAPI 3; an API key is the same in both."""
    assert from_swagger(SWAGGER)["components"]["securitySchemes"] == {
        "basic": {"type": "http", "scheme": "basic"},
        "key": SWAGGER["securityDefinitions"]["key"],
    }


def test_document_without_a_host_has_a_relative_server() -> None:
    assert from_swagger(SWAGGER)["servers"] == [{"url": "/"}]
