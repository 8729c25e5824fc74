"""The live service through clients that others wrote, made from the document that it serves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from clients.calls import Call, Client
from clients.generator import run
from clients.node_clients import GeneratedTypeScript, OpenapiFetch, SwaggerClient
from clients.python_clients import Bravado, GeneratedPython, OpenapiPythonClient
from support.sandbox_process import Printed

pytestmark = [
    # Bravado uses what jsonschema has newer ways for.
    pytest.mark.filterwarnings("ignore:jsonschema.RefResolver.in_scope is deprecated"),
    pytest.mark.filterwarnings("ignore:Accessing .*resolver is deprecated"),
]

CLIENTS: list[Any] = [
    *(Bravado, GeneratedPython, SwaggerClient, GeneratedTypeScript),
    *(OpenapiPythonClient, OpenapiFetch),
]


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda client: client.__name__)
def client(
    request: pytest.FixtureRequest, document: str, tmp_path_factory: pytest.TempPathFactory
) -> Client:
    """Return each client in turn, made from the served document."""
    made: Client = request.param(document, tmp_path_factory.mktemp(request.param.__name__))
    return made


def test_generator_has_nothing_to_say_against_the_document(document: str) -> None:
    """Neither errors, nor what its authors advise against."""
    assert "No validation issues detected." in run("validate", "--recommend", "-i", document)


def test_succeeds(client: Client, good: Call) -> None:
    """200: the identical object, with the customer's id."""
    status, kind, result = client.save(good)
    assert (status, kind) == (200, client.kinds[200])
    assert set(result) == {"coord_targeted_token", "customer_id"}
    assert result["coord_targeted_token"] == good.token
    assert re.fullmatch(r"cus_\w+", result["customer_id"])


@pytest.mark.parametrize(
    ("wrong", "status", "code", "decline_code"),
    [
        pytest.param({"access_key": "coord_ak_x"}, 401, "invalid_access_key", None, id="key"),
        pytest.param({"user_jwt": "e30.e30.e30"}, 401, "invalid_user_token", None, id="JWT"),
        pytest.param(
            {"token": "tok_chargeDeclinedInsufficientFunds"},
            402,
            "card_declined",
            "insufficient_funds",
            id="no funds",
        ),
        pytest.param(
            {"token": "tok_chargeDeclinedExpiredCard"}, 402, "expired_card", None, id="expired"
        ),
        pytest.param({"user_jwt": "of a test user"}, 403, "test_user", None, id="test user"),
        pytest.param({"token": "tok_unknown"}, 422, "resource_missing", None, id="foreign token"),
    ],
)
def test_sees_a_typed_error(
    client: Client,
    good: Call,
    sandbox: Printed,
    wrong: dict[str, str],
    status: int,
    code: str,
    decline_code: str | None,
) -> None:
    """The error that the client raises has the status, and in it the problem with its code."""
    call = good._replace(**wrong)
    if call.user_jwt == "of a test user":
        call = call._replace(user_jwt=sandbox.value("Test JWT"))
    outcome = client.save(call)
    assert (outcome.status, outcome.kind) == (status, client.kinds[status])
    assert (outcome.members["status"], outcome.members["code"]) == (status, code)
    assert outcome.members.get("decline_code") == decline_code
    assert outcome.members["type"] == f"/v1/users/problems/{code}"
    assert outcome.members["title"]
    assert outcome.members["detail"]
    assert re.fullmatch(r"[0-9a-f]{32}", outcome.members["request_id"])
