"""A faulty contract stops the start with one line; no request gets a 500."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.contract.document import Contract
from app.errors import ConfigurationError
from app.service import create_app

PATH = "/user/current/stripe_info"


@pytest.fixture
def document() -> dict[str, Any]:
    """Return a copy of the shipped contract, to be changed."""
    return copy.deepcopy(Contract.shipped("swagger.yaml").document)


@pytest.fixture
def start(settings: Settings, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that starts the service from the document as it is then."""
    shipped = classmethod(lambda cls, _name: cls(document))
    monkeypatch.setattr(Contract, "shipped", shipped)
    return lambda: create_app(settings)


def one_line(error: pytest.ExceptionInfo[ConfigurationError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_operation_without_a_function(document: dict[str, Any], start: Any) -> None:
    document["paths"][PATH]["post"]["operationId"] = "post_nothing"
    with pytest.raises(ConfigurationError) as error:
        start()
    assert "post_nothing" in one_line(error)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (None, "names no function"),
        (
            "app.security.check_nothing",
            "app.security.check_nothing, which does not exist",
        ),
        ("app.nowhere.check", "app.nowhere.check, which does not exist"),
        ("check", "check, which does not exist"),
    ],
)
def test_security_scheme_without_its_check(
    document: dict[str, Any], start: Any, function: str | None, words: str
) -> None:
    scheme = document["securityDefinitions"]["access_key"]
    del scheme["x-apikeyInfoFunc"]
    if function:
        scheme["x-apikeyInfoFunc"] = function
    with pytest.raises(ConfigurationError) as error:
        start()
    assert words in one_line(error)


def test_security_scheme_that_is_not_defined(document: dict[str, Any], start: Any) -> None:
    document["paths"][PATH]["post"]["security"] = [{"password": []}]
    with pytest.raises(ConfigurationError) as error:
        start()
    assert "password, which is not defined" in one_line(error)


def test_document_that_is_not_valid(document: dict[str, Any], start: Any) -> None:
    document["paths"][PATH]["post"]["parameters"][0]["in"] = "nowhere"
    with pytest.raises(ConfigurationError) as error:
        start()
    assert "not valid Swagger" in one_line(error)


def test_document_that_is_not_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "swagger.yaml").write_text("a: b: c")
    monkeypatch.setattr("importlib.resources.files", lambda _package: tmp_path)
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        Contract.shipped("swagger.yaml")


def test_process_ends_with_one_line(settings: Settings) -> None:
    """As an operator sees it: no traceback, and an exit status."""
    command = Path(sys.executable).with_name("coord-users")
    environ = {
        "PATH": str(command.parent),
        "DATABASE_URL": settings.database_url,
        "STRIPE_SECRET_KEY": "sk_test_x",
        "STRIPE_TIMEOUT": "soon",
    }
    done = subprocess.run([command, "serve"], env=environ, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"STRIPE_TIMEOUT" in done.stderr
