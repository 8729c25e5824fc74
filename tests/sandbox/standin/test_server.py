"""The stand-in as a server: where it listens, what it keeps, what its answers carry."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
import yaml
from support import stripe_document
from support.stripe_sdk import Sdk

from app.errors import ConfigurationError
from app.sandbox.standin.server import StandIn

CONTRACT = yaml.safe_load(Path("openapi/stripe-standin.yaml").read_text("utf-8"))
STRIPE = stripe_document.document()
# Kinds of payment that this project has nothing to do with.
NOT_PLAYED = set(
    STRIPE["paths"]["/v1/payment_methods"]["post"]["requestBody"]["content"][stripe_document.FORM][
        "schema"
    ]["properties"]["type"]["enum"]
) - {"card"} | {"interac_present"}


def error_of(answer: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = answer.json()["error"]
    return error


def test_state_survives_a_restart(tmp_path: Path) -> None:
    """Where asked for: customers, tokens, PaymentMethods and keys."""
    state = tmp_path / "state.json"
    with StandIn(state_file=state) as standin:
        sdk = Sdk(standin.url)
        unused, used, payment_method = sdk.token(), sdk.token(), sdk.payment_method()
        made = sdk.post("customers", source=used, key="k")
    with StandIn(state_file=state) as standin:
        sdk = Sdk(standin.url)
        assert sdk.post("customers", source=used, key="k") == made
        sdk.refused("customers", 400, source=used)
        sdk.customer(source=unused)
        sdk.customer(payment_method=payment_method)


def test_state_of_the_first_release_is_read(tmp_path: Path) -> None:
    """`coord-users sandbox --keep` may point at it."""
    state = tmp_path / "state.json"
    state.write_text(
        '{"customers": {"cus_standin_1": {"id": "cus_standin_1", "object": "customer",'
        ' "created": 1, "default_source": "card_standin_1", "description": null, "email": null,'
        ' "livemode": false, "metadata": {}, "_card": "4242424242424242"}},'
        ' "tokens": {"tok_standin_1": {"card": "4242424242424242", "account":'
        ' "acct_standin_coord", "used": false}},'
        ' "keys": {"k": {"request": "/v1/customers?", "status": 200, "at": 9e9,'
        ' "body": {"id": "cus_standin_1", "object": "customer", "created": 1,'
        ' "livemode": false}}}}'
    )
    with StandIn(state_file=state) as standin:
        sdk = Sdk(standin.url)
        assert sdk.get("customers/cus_standin_1")["default_source"] == "card_standin_1"
        assert not sdk.get("tokens/tok_standin_1")["used"]
        sdk.post("customers/cus_standin_1", source="tok_standin_1")
        assert sdk.post("customers", key="k")["id"] == "cus_standin_1"


def test_port_that_is_taken(standin: StandIn) -> None:
    port = int(standin.url.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match="did not start"), StandIn(port):
        pass


def test_token_for_the_sandbox_works(sdk: Sdk, standin: StandIn) -> None:
    sdk.customer(source=standin.new_token())


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(ConfigurationError, match="this machine only"):
        StandIn(host=host)


@pytest.mark.parametrize("key", ["sk_live_4eC39HqLyjWDarjtT1zdp7dc", "nonsense"])
def test_accepts_test_keys_only(standin: StandIn, key: str) -> None:
    """As at Stripe, the answer names neither the key nor the request."""
    with pytest.raises(stripe.AuthenticationError) as raised:
        Sdk(standin.url, key).get("customers")
    assert key not in str(raised.value)
    assert "request-id" not in (raised.value.headers or {})


def test_accepts_the_key_as_curl_sends_it(standin: StandIn) -> None:
    answer = httpx.get(f"{standin.url}/v1/customers", auth=("sk_test_x", ""), trust_env=False)
    assert answer.json() == {
        "object": "list",
        "url": "/v1/customers",
        "has_more": False,
        "data": [],
    }


def test_says_what_it_is(
    raw: httpx.Client, standin: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """In each answer's headers, in each id, and in the log."""
    answer = raw.post("/v1/customers")
    assert answer.headers["server"] == "Stripe-Stand-In"
    assert answer.headers["request-id"].startswith("req_standin_")
    assert answer.json()["id"].startswith("cus_standin_")
    with StandIn():
        pass
    assert "stand-in for Stripe listens" in "".join(capsys.readouterr())


def test_headers_of_an_answer_are_those_of_stripe(raw: httpx.Client) -> None:
    """A POST echoes its key and names the first request under it; the version is the caller's."""
    headers = {"Idempotency-Key": "k", "Stripe-Version": "2026-10-28.endive"}
    answer = raw.post("/v1/customers", headers=headers)
    assert answer.headers["idempotency-key"] == "k"
    assert answer.headers["original-request"] == answer.headers["request-id"]
    assert answer.headers["stripe-version"] == "2026-10-28.endive"
    assert answer.headers["stripe-should-retry"] == "false"
    answer = raw.get("/v1/customers")
    assert answer.headers["stripe-version"] == "2026-05-27.dahlia"
    assert "idempotency-key" not in answer.headers


def test_error_names_its_page_and_its_log_entry(raw: httpx.Client) -> None:
    answer = raw.post("/v1/customers", data={"source": "tok_chargeDeclined"})
    error = error_of(answer)
    assert error["doc_url"] == "https://stripe.com/docs/error-codes/card-declined"
    assert answer.headers["request-id"] in error["request_log_url"]
    assert answer.headers["stripe-should-retry"] == "false"


@pytest.mark.usefixtures("off_document")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/charges", 404),
        ("PUT", "/v1/customers", 405),
        ("GET", "/v1/customers?limit=many", 400),
    ],
)
def test_what_it_does_not_know_is_answered_in_stripes_form(
    raw: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = raw.request(method, path)
    assert answer.status_code == status
    assert error_of(answer)["type"] == "invalid_request_error"
    assert answer.headers["request-id"].startswith("req_standin_")


def test_page_of_more_than_a_hundred_is_refused(raw: httpx.Client) -> None:
    assert raw.get("/v1/customers?limit=101").status_code == 400


# What Stripe's document has, the contract has.


def names(parameters: list[dict[str, Any]], place: str) -> set[str]:
    """Return the first parts of the names of parameters in the contract."""
    resolved = [
        CONTRACT["parameters"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        for one in parameters
    ]
    return {one["name"].partition("[")[0] for one in resolved if one["in"] == place}


OPERATIONS = [
    (method, path)
    for path, operations in CONTRACT["paths"].items()
    for method in operations
    if method != "parameters"
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_contract_has_the_parameters_of_stripe(method: str, path: str) -> None:
    """All of them, and no other; but for the kinds of payment that are not played."""
    theirs = STRIPE["paths"][f"/v1{path}"][method]
    ours = CONTRACT["paths"][path][method].get("parameters", [])
    content = theirs["requestBody"]["content"]
    schema = (content.get(stripe_document.FORM) or next(iter(content.values())))["schema"]
    form = set(schema.get("properties", {}))
    if path == "/payment_methods":
        form -= NOT_PLAYED
    assert names(ours, "formData") == form
    query = {one["name"] for one in theirs.get("parameters", []) if one["in"] == "query"}
    assert names(ours, "query") == query
