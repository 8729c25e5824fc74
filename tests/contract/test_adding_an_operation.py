"""How to add an operation: a path in the contract and a function. There is no third step.

Each test works on a copy of the package, which is changed as a developer would change it.
"""

import importlib.resources
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.sandbox_process import Printed

import app

# Step 1: add the path. Only `responses` is required of an operation; it has no headers here.
PATH = """\
  /user/current/rides/{number}:
    put:
      operationId: rate_ride
      description: Rate a ride of the current user.
      security:
      - access_key: []
        user_jwt: []
      parameters:
      - {in: query, name: access_key, type: string, required: true}
      - {in: path, name: number, type: integer, required: true}
      - {in: query, name: language, type: string, enum: [de, en]}
      - in: body
        name: rating
        required: true
        schema:
          type: object
          required: [stars]
          properties:
            stars: {type: integer, minimum: 1, maximum: 5, example: 5}
          additionalProperties: false
      responses:
        '200':
          description: OK
          schema:
            type: object
            required: [sum]
            properties:
              sum: {type: integer}
"""
# Step 2: add the function that has the operationId as its name.
FUNCTION = '''

def rate_ride(
    user: User, number: int, rating: dict[str, int], language: str = "en"
) -> dict[str, object]:
    """Rate a ride."""
    if number == 13:
        return {"sum": "not an integer"}
    return {"sum": number + rating["stars"], "language": language, "subject": user.subject}
'''
RIDE = "/user/current/rides/7"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the package, in which both steps are done."""
    folder = tmp_path_factory.mktemp("copied")
    ignored = shutil.ignore_patterns("__pycache__", "openapi")
    shutil.copytree(Path(app.__file__).parent, folder / "app", ignore=ignored)
    with importlib.resources.as_file(importlib.resources.files("app.openapi")) as openapi:
        shutil.copytree(openapi, folder / "app" / "openapi")
    contract = folder / "app" / "openapi" / "swagger.yaml"
    text = contract.read_text("utf-8")
    assert text.count("\ndefinitions:\n") == 1
    contract.write_text(text.replace("\ndefinitions:\n", f"\n{PATH}definitions:\n"), "utf-8")
    with (folder / "app" / "handlers.py").open("a", encoding="utf-8") as handlers:
        handlers.write(FUNCTION)
    return folder


def start(folder: Path) -> "subprocess.Popen[str]":
    """Start the sandbox of the copy, whose coverage is not that of the package."""
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    command = "import app.cli; app.cli.main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, "sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environ, "PYTHONPATH": str(folder)},
    )


@pytest.fixture(scope="module")
def changed(copied: Path) -> Iterator[Printed]:
    process = start(copied)
    try:
        yield Printed(process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def put(changed: Printed, path: str = RIDE, *, stars: object = 5, **more: str) -> httpx.Response:
    """Call the new operation."""
    base = changed.value("Explorer").removesuffix("/ui/")
    credentials = {"Authorization": f"Bearer {more.pop('jwt', changed.value('User JWT'))}"}
    params = {"access_key": changed.value("Access key"), **more}
    return httpx.put(base + path, params=params, headers=credentials, json={"stars": stars})


def test_operation_is_served(changed: Printed) -> None:
    """Its function gets the user, and each parameter in its type."""
    response = put(changed, language="de")
    assert response.status_code == 200
    assert response.json() == {"sum": 12, "language": "de", "subject": "demo-user"}
    assert put(changed).json()["language"] == "en"


def test_request_is_checked(changed: Printed) -> None:
    """Credentials, the path, the query and the body, each by what the path says of it."""
    for response, status, code in (
        (put(changed, access_key="coord_ak_no"), 401, "invalid_access_key"),
        (put(changed, jwt="e30.e30.e30"), 401, "invalid_user_token"),
        (put(changed, "/user/current/rides/seven"), 404, "not_found"),
        (put(changed, language="fr"), 400, "invalid_request"),
        (put(changed, more="1"), 400, "invalid_request"),
        (put(changed, stars=6), 400, "invalid_request"),
        (put(changed, stars="5"), 400, "invalid_request"),
    ):
        assert (response.status_code, response.json()["code"]) == (status, code)


def test_response_is_checked(changed: Printed) -> None:
    """One that breaks the contract is a defect of the service, and is not sent."""
    assert put(changed, "/user/current/rides/13").json()["code"] == "internal"


def test_operation_is_in_each_document_and_filled_in(changed: Printed) -> None:
    """The explorer shows the served document; its access key is filled in."""
    base = changed.value("Explorer").removesuffix("/ui/")
    swagger = httpx.get(f"{base}/swagger.json").json()
    operation = swagger["paths"]["/user/current/rides/{number}"]["put"]
    assert operation["parameters"][0]["default"] == changed.value("Access key")
    openapi = httpx.get(f"{base}/openapi.json").json()
    assert openapi["paths"]["/user/current/rides/{number}"]["put"]["requestBody"]["required"]
    assert "rate_ride" in httpx.get(f"{base}/swagger.yaml").text


def test_path_without_its_function_stops_the_start(copied: Path) -> None:
    """One line names what is missing."""
    handlers = copied / "app" / "handlers.py"
    whole = handlers.read_text("utf-8")
    handlers.write_text(whole.replace("def rate_ride", "def rate_another"), "utf-8")
    try:
        _, errors = start(copied).communicate(timeout=60)
    finally:
        handlers.write_text(whole, "utf-8")
    assert errors.splitlines()[-1] == (
        "Error: The contract's operationId rate_ride has no function in app.handlers"
    )
