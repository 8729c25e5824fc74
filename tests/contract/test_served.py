"""The document as it is served: in its three forms, with the caller's address, filled in or not."""

import copy
import json
import re
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator
from support.pages import client

from app.contract.document import Contract
from app.contract.explorer import Prefilled
from app.errors import InvalidRequest

FORMS = ("swagger.json", "swagger.yaml", "openapi.json")
CONTRACT = Contract.shipped("swagger.yaml")


@pytest.fixture
def outside() -> FlaskClient:
    return client(CONTRACT)


@pytest.fixture
def sandbox(prefilled: Prefilled) -> FlaskClient:
    return client(CONTRACT, prefilled)


def fetch(caller: FlaskClient, form: str, **options: Any) -> Any:
    """Fetch one form of the document and parse it."""
    return yaml.safe_load(caller.get(f"/v1/users/{form}", **options).text)


@pytest.mark.parametrize("form", FORMS)
def test_document_names_the_host_and_scheme_of_the_request(outside: FlaskClient, form: str) -> None:
    """ "Try it out" and generated clients then call the service that the document came from."""
    document = fetch(outside, form, base_url="https://api.test:8443")
    if form == "openapi.json":
        assert document["servers"] == [{"url": "https://api.test:8443/v1/users"}]
    else:
        assert (document["host"], document["schemes"]) == ("api.test:8443", ["https"])
        assert document["basePath"] == "/v1/users"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["outside", "sandbox"])
def test_document_below_a_path_names_that_path(
    form: str, place: str, request: pytest.FixtureRequest
) -> None:
    """A proxy serves the API below a prefix, which WSGI calls SCRIPT_NAME."""
    caller = request.getfixturevalue(place)
    document = fetch(caller, form, base_url="https://api.test/pay")
    if form == "openapi.json":
        assert document["servers"] == [{"url": "https://api.test/pay/v1/users"}]
    else:
        assert (document["host"], document["basePath"]) == ("api.test", "/pay/v1/users")


def test_addresses_of_problems_in_a_document_below_a_path_begin_with_it() -> None:
    """The schema and the examples of `type` are those of the responses; a `.` is only a dot."""
    document = CONTRACT.served("api.test", "https", "/p.y")
    pattern = document["definitions"]["Problem"]["properties"]["type"]["pattern"]
    assert re.search(pattern, "/p.y/v1/users/problems/internal")
    assert not re.search(pattern, "/pay/v1/users/problems/internal")
    example = document["x-problems"]["not_found"]["example"]
    assert example["type"] == "/p.y/v1/users/problems/not_found"


def test_document_without_a_base_path_is_served_below_a_path() -> None:
    bare = {"swagger": "2.0", "info": {"title": "t", "version": "1"}, "paths": {}}
    assert Contract(bare).served("api.test", "http", "/pay")["basePath"] == "/pay"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example/path",
        "user@evil.example",
        "evil.example:port",
        "evil.example:123456",
        '"><script>',
        "two hosts",
        "[::1",
        "name." * 51,
        "",
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_malformed_host_is_refused(outside: FlaskClient, form: str, host: str) -> None:
    """The header `Host` is the caller's, and must not bring anything else into the document."""
    with pytest.raises(InvalidRequest):
        outside.get(f"/v1/users/{form}", headers={"Host": host})


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8080", "A-1.example:80", "users_api:8080"]
)
def test_host_of_each_usual_form_is_served(outside: FlaskClient, host: str) -> None:
    """A name or an IPv4 address, with a port or without; Docker Compose's names have a `_`."""
    assert fetch(outside, "swagger.json", headers={"Host": host})["host"] == host


@pytest.mark.parametrize("form", FORMS)
def test_document_fetched_by_an_ipv6_address_names_no_host(outside: FlaskClient, form: str) -> None:
    """Swagger 2.0 cannot express one; without a host, clients take the address they fetched by."""
    document = fetch(outside, form, headers={"Host": "[::1]:8080"})
    assert "host" not in document
    assert document.get("servers", [{"url": "/v1/users"}]) == [{"url": "/v1/users"}]


def test_served_document_is_the_contract_without_internals(outside: FlaskClient) -> None:
    """Only the address differs from the file, and the names of functions are left out."""
    response = outside.get("/v1/users/swagger.json")
    assert response.json == CONTRACT.served("localhost", "http")
    assert response.content_type == "application/json"
    assert "app.security" not in response.text


@pytest.mark.parametrize("place", ["outside", "sandbox"])
def test_served_documents_are_valid(place: str, request: pytest.FixtureRequest) -> None:
    """By a validator that is not Connexion's, filled in or not."""
    caller = request.getfixturevalue(place)
    OpenAPIV2SpecValidator(fetch(caller, "swagger.json")).validate()
    OpenAPIV30SpecValidator(fetch(caller, "openapi.json")).validate()


def test_yaml_is_the_same_document_in_the_same_order(outside: FlaskClient) -> None:
    response = outside.get("/v1/users/swagger.yaml")
    as_json = outside.get("/v1/users/swagger.json").text
    assert json.dumps(yaml.safe_load(response.text), indent=2, ensure_ascii=False) == as_json
    assert response.content_type == "application/yaml"


def test_yaml_is_written_once(outside: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """To write all of it takes a tenth of a second, whatever the host that a caller names."""
    written: list[Any] = []
    write = yaml.dump
    monkeypatch.setattr(
        "app.contract.explorer.yaml.dump",
        lambda document, **options: written.append(len(document)) or write(document, **options),
    )
    for host in ("one.example", "1.5", "null", "[::1]:80"):
        document = fetch(outside, "swagger.yaml", headers={"Host": host})
        assert document.get("host") == (None if host.startswith("[") else host)
        assert document["schemes"] == ["http"]
    assert set(written) == {1}


def test_yaml_has_no_escapes_and_no_aliases(outside: FlaskClient) -> None:
    """A text of several lines stands as it is, for people to read."""
    text = outside.get("/v1/users/swagger.yaml").text
    for line in CONTRACT.document["info"]["description"].splitlines():
        assert f"    {line}".rstrip() in text.splitlines()
    assert "\\n" not in text
    assert not re.search(r": [&*]\w", text)


def parameters(document: Any) -> list[Any]:
    """Return the parameters of all operations."""
    return [
        parameter
        for item in document["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
    ]


def test_nothing_is_filled_in_outside_the_sandbox(outside: FlaskClient) -> None:
    found = parameters(fetch(outside, "swagger.json"))
    assert found
    assert all("default" not in parameter for parameter in found)


@pytest.mark.parametrize("form", FORMS)
def test_sandbox_fills_in_the_access_key_and_a_token(sandbox: FlaskClient, form: str) -> None:
    """Swagger UI puts a parameter's default and a property's example into its form."""
    document = fetch(sandbox, form)
    keys = [one for one in parameters(document) if one["name"] == "access_key"]
    assert keys
    assert all(one.get("schema", one)["default"] == "demo_key" for one in keys)
    assert all("default" not in one for one in parameters(document) if one["in"] == "body")
    models = document.get("definitions") or document["components"]["schemas"]
    token = models["StripeInfo"]["properties"]["coord_targeted_token"]
    assert token["example"] == "tok_fresh_1"


def test_each_load_in_the_sandbox_has_a_fresh_token_and_payment_method(
    sandbox: FlaskClient,
) -> None:
    """Each is for one use."""
    texts = [sandbox.get(f"/v1/users/{form}").text for form in FORMS]
    for kind in ("tok", "pm"):
        found = [re.findall(rf"{kind}_fresh_\d+", text) for text in texts]
        assert found == [[f"{kind}_fresh_1"], [f"{kind}_fresh_2"], [f"{kind}_fresh_3"]]


@pytest.mark.parametrize("form", FORMS)
def test_sandbox_offers_a_payment_method(sandbox: FlaskClient, form: str) -> None:
    """The description of the body has one that can be copied: a body has one example only."""
    operation = fetch(sandbox, form)["paths"]["/user/current/stripe_info"]["post"]
    body = operation.get("requestBody") or operation["parameters"][-1]
    assert body["description"] == (
        "A `StripeInfo` object. With a fresh PaymentMethod:"
        ' `{"coord_targeted_token": "pm_fresh_1"}`'
    )


def test_filling_in_does_not_change_the_contract(sandbox: FlaskClient) -> None:
    """Connexion routes by the same document."""
    before = copy.deepcopy(CONTRACT.document)
    for form in FORMS:
        sandbox.get(f"/v1/users/{form}")
    assert CONTRACT.document == before
