"""Clients in Python: bravado, OpenAPI Generator's, and openapi-python-client's."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from clients.calls import Call, Outcome
from clients.generator import DEADLINE, generate


class Bravado:
    """Builds itself from the served document, checks what it sends, and models what it gets.

    It has no models for errors of another type than `application/json`: it raises by status, and
    gives the body as it is.
    """

    kinds: ClassVar = {
        200: "SavedStripeInfo",
        401: "HTTPUnauthorized",
        402: "HTTPPaymentRequired",
        403: "HTTPForbidden",
        422: "HTTPUnprocessableEntity",
    }

    def __init__(self, document: str, _folder: Path) -> None:
        from bravado.client import SwaggerClient

        self._client = SwaggerClient.from_url(document, config={"also_return_response": True})

    def save(self, call: Call) -> Outcome:
        """Call the operation by its first tag and its operationId."""
        from bravado.exception import HTTPError

        model = self._client.get_model("StripeInfo")
        operation = self._client.Users.post_stripe_info(
            access_key=call.access_key,
            stripe_info=model(coord_targeted_token=call.token),
            Authorization=f"Bearer {call.user_jwt}",
        )
        try:
            answer = operation.response(timeout=30)
        except HTTPError as error:
            problem = json.loads(error.swagger_result)
            return Outcome(error.status_code, type(error).__name__, problem)
        saved = answer.result
        return Outcome(answer.metadata.status_code, type(saved).__name__, saved._as_dict())


class GeneratedPython:
    """Written by OpenAPI Generator's generator `python`."""

    kinds: ClassVar = {
        200: "SavedStripeInfo",
        401: "UnauthorizedException with Problem",
        402: "ApiException with Problem",
        403: "ForbiddenException with Problem",
        422: "UnprocessableEntityException with Problem",
    }

    def __init__(self, document: str, folder: Path) -> None:
        generate("python", document, folder, packageName="coord_users_client")
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(folder))
            self._client: Any = importlib.import_module("coord_users_client")

    def save(self, call: Call) -> Outcome:
        """Call the operation with the scheme's credential in the configuration."""
        client = self._client
        configuration = client.Configuration(
            api_key={"user_jwt": call.user_jwt}, api_key_prefix={"user_jwt": "Bearer"}
        )
        with client.ApiClient(configuration) as connection:
            try:
                answer = client.UsersApi(connection).post_stripe_info_with_http_info(
                    access_key=call.access_key,
                    stripe_info=client.StripeInfo(coord_targeted_token=call.token),
                )
            except client.ApiException as error:
                problem = error.data
                kind = f"{type(error).__name__} with {type(problem).__name__}"
                return Outcome(error.status, kind, problem.to_dict())
        return Outcome(answer.status_code, type(answer.data).__name__, answer.data.to_dict())


class OpenapiPythonClient:
    """Written by openapi-python-client, which reads OpenAPI 3 alone, without a warning."""

    kinds: ClassVar = dict.fromkeys((401, 402, 403, 422), "Problem") | {
        200: "PostStripeInfoSavedStripeInfo"
    }

    def __init__(self, document: str, folder: Path) -> None:
        self._base = document.removesuffix("/swagger.json")
        options = ("--meta", "none", "--fail-on-warning", "--output-path", str(folder / "opc"))
        run_module(
            "openapi_python_client", "generate", "--url", f"{self._base}/openapi.json", *options
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(folder))
            names = ("opc", "opc.models", "opc.api.users.post_stripe_info")
            self._client, self._models, self._operation = map(importlib.import_module, names)

    def save(self, call: Call) -> Outcome:
        """Call the operation with a client that has the bearer token."""
        with self._client.AuthenticatedClient(self._base, token=call.user_jwt) as client:
            body = self._models.StripeInfo(coord_targeted_token=call.token)
            answer = self._operation.sync_detailed(
                client=client, body=body, access_key=call.access_key
            )
        actual = answer.parsed
        return Outcome(int(answer.status_code), type(actual).__name__, actual.to_dict())


def run_module(name: str, *words: str) -> None:
    """Run a generator that is a module of Python; beside it are the programs that it calls."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", name, *words],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout
