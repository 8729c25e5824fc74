"""The contract as OpenAPI 3, held against what tools that read only that make of it."""

from __future__ import annotations

import importlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from clients.node_clients import install, run_installed
from clients.python_clients import run_module

from app.contract.document import Contract
from app.contract.openapi3 import from_swagger


def served(document: str) -> dict[str, Any]:
    with urllib.request.urlopen(document.replace("swagger.json", "openapi.json")) as answer:
        return dict(json.load(answer))


def examples(openapi: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return each response's media type and example."""
    return [
        (kind, content["example"])
        for path in openapi["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        for kind, content in response.get("content", {}).items()
    ]


def test_models_of_datamodel_code_generator_accept_the_examples(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strict models of pydantic, which keep each pattern and length of the contract."""
    openapi = served(document)
    (tmp_path / "openapi.json").write_text(json.dumps(openapi))
    run_module(
        "datamodel_code_generator",
        *("--input", str(tmp_path / "openapi.json"), "--input-file-type", "openapi"),
        *("--output", str(tmp_path / "coord_models.py")),
        *("--output-model-type", "pydantic_v2.BaseModel"),
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    models: Any = importlib.import_module("coord_models")
    problems = [example for kind, example in examples(openapi) if "problem" in kind]
    assert len(problems) > 10
    for problem in problems:
        result = models.Problem.model_validate(problem).model_dump(mode="json", exclude_none=True)
        assert result == problem
    assert models.StripeInfo(coord_targeted_token="tok_visa").customer_id is None
    for odd in ({}, {"coord_targeted_token": "visa"}, {"coord_targeted_token": "tok_a", "x": 1}):
        with pytest.raises(ValueError, match="validation error"):
            models.StripeInfo.model_validate(odd)


def test_the_derivation_agrees_with_that_of_swagger2openapi(tmp_path: Path) -> None:
    """But for what OpenAPI 3 can say and Swagger 2.0 cannot: a type per response, bearer tokens."""
    install()
    swagger = Contract.shipped("swagger.yaml").served("api.coord.co", "https")
    (tmp_path / "swagger.json").write_text(json.dumps(swagger))
    run_installed(
        "swagger2openapi", str(tmp_path / "swagger.json"), "-o", str(tmp_path / "theirs.json")
    )
    ours, theirs = from_swagger(swagger), json.loads((tmp_path / "theirs.json").read_text())
    for one in (ours, theirs):
        assert one.pop("openapi").startswith("3.0.")
    bearer = ours["components"]["securitySchemes"].pop("user_jwt")
    assert (bearer["type"], bearer["scheme"]) == ("http", "bearer")
    header = theirs["components"]["securitySchemes"].pop("user_jwt")
    assert (header["type"], header["name"]) == ("apiKey", "Authorization")
    assert bearer["description"] == header["description"]
    assert comparable(ours) == comparable(theirs)


def comparable(openapi: dict[str, Any]) -> dict[str, Any]:
    """Leave of each response the content that has an example: the others are not sent."""
    for path in openapi["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                response["content"] = {
                    kind: {"schema": content["schema"], "example": example(content)}
                    for kind, content in response.get("content", {}).items()
                    if example(content)
                }
    return openapi


def example(content: dict[str, Any]) -> Any:
    return content.get("example") or content.get("examples", {}).get("response", {}).get("value")
