"""Each example of an answer in the contract, held against what the service answers.

The service is the real one, over a real socket; only Stripe is stood in for.
"""

import dataclasses
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from jsonschema import Draft4Validator
from sqlalchemy import text
from support.serving import PATH, Caller, Partner, Service

from app.config import Settings
from app.contract.document import Contract
from app.customers.user import User
from app.sandbox.standin.server import StandIn
from app.service import make_rule
from app.storage.database import Database
from app.stripe_account.account import StripeAccount

DOCUMENT = Contract.shipped("swagger.yaml").document
RESPONSES = DOCUMENT["paths"]["/user/current/stripe_info"]["post"]["responses"]
GOOD = {"coord_targeted_token": "tok_visa"}


@dataclasses.dataclass
class Deployment:
    """The service, and what is around it."""

    caller: Caller
    service: Service
    settings: Settings
    database: Database
    standin: StandIn
    patch: pytest.MonkeyPatch


@pytest.fixture
def deployment(
    settings: Settings,
    partner: Partner,
    database: Database,
    standin: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deployment]:
    """Yield a service that is soon at its limits, and waits for nothing."""
    narrow = dataclasses.replace(
        settings, request_timeout=4.0, stripe_timeout=4.0, max_in_flight=1, refusals_per_user=1
    )
    with Service(narrow) as service, Caller(service.url, partner) as caller:
        yield Deployment(caller, service, narrow, database, standin, monkeypatch)


Provoke = Callable[[Deployment], httpx.Response]


def saving(token: str) -> Provoke:
    return lambda deployment: deployment.caller.save(token)


def without_credentials(deployment: Deployment) -> httpx.Response:
    return deployment.caller.http.post(PATH, json=GOOD)


def without_jwt(deployment: Deployment) -> httpx.Response:
    params = {"access_key": deployment.caller.partner.access_key}
    return deployment.caller.http.post(PATH, params=params, json=GOOD)


def with_an_old_jwt(deployment: Deployment) -> httpx.Response:
    return deployment.caller.save("tok_visa", exp=int(time.time()) - 60)


def for_another_partner(deployment: Deployment) -> httpx.Response:
    return deployment.caller.post(GOOD, jwt=Partner(deployment.database, "Bolt").jwt())


def with_a_slow_body(deployment: Deployment) -> httpx.Response:
    deployment.patch.setattr("app.web.body.BODY_SECONDS", 0.2)

    def pieces() -> Iterator[bytes]:
        yield b"{"
        time.sleep(1)
        yield b"}"

    return deployment.caller.http.post(PATH, content=pieces())


def beside_another_request(deployment: Deployment) -> httpx.Response:
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(deployment.caller.save, "tok_standin_slow")
        while "coord_users_in_flight 1.0" not in deployment.caller.http.get("/metrics").text:
            assert not slow.done()
            time.sleep(0.01)
        return deployment.caller.save("tok_visa")


def beside_another_update(deployment: Deployment) -> httpx.Response:
    rule = make_rule(deployment.settings, deployment.database, StripeAccount("sk_test_unused"))
    user = User(1, 1, "Acme", "https://acme.example/", "user-1", email=None, is_test=False)
    assert rule.attempts.claim(user, "tok_mastercard")
    return deployment.caller.save("tok_visa")


def with_another_users_token(deployment: Deployment) -> httpx.Response:
    token = deployment.standin.new_token()
    assert deployment.caller.save(token, "user-2").status_code == 200
    return deployment.caller.save(token)


def after_a_refusal(deployment: Deployment) -> httpx.Response:
    assert deployment.caller.save("tok_chargeDeclined").status_code == 402
    return deployment.caller.save("tok_visa")


def without_storage(deployment: Deployment) -> httpx.Response:
    assert deployment.caller.save("tok_visa").status_code == 200
    with deployment.database.writing() as connection:
        connection.execute(text("alter table users rename to elsewhere"))
    return deployment.caller.save("tok_mastercard")


def without_the_issuer(deployment: Deployment) -> httpx.Response:
    with deployment.database.writing() as connection:
        connection.execute(text("update issuers set jwks_url = 'http://127.0.0.1:9/', jwks = null"))
    return deployment.caller.save("tok_visa")


PROVOKED: dict[str, Provoke] = {
    "invalid_request": lambda deployment: deployment.caller.post({}),
    "invalid_access_key": without_credentials,
    "invalid_user_token": without_jwt,
    "user_token_expired": with_an_old_jwt,
    "card_declined": saving("tok_chargeDeclined"),
    "expired_card": saving("tok_chargeDeclinedExpiredCard"),
    "incorrect_cvc": saving("tok_chargeDeclinedIncorrectCvc"),
    "processing_error": saving("tok_chargeDeclinedProcessingError"),
    "card_refused": saving("tok_standin_incorrectZip"),
    "test_user": lambda deployment: deployment.caller.save("tok_visa", is_test_user=True),
    "partner_mismatch": for_another_partner,
    "not_found": lambda deployment: deployment.caller.http.get("/v1/users/nowhere"),
    "method_not_allowed": lambda deployment: deployment.caller.http.get(PATH),
    "request_timeout": with_a_slow_body,
    "update_in_progress": beside_another_update,
    "payload_too_large": lambda deployment: deployment.caller.post("a" * 20_000),
    "unsupported_media_type": lambda deployment: deployment.caller.post(
        GOOD, headers={"Content-Type": "text/plain"}
    ),
    "token_already_used": with_another_users_token,
    "resource_missing": saving("tok_unknown"),
    "livemode_mismatch": saving("tok_standin_liveMode"),
    "token_refused": saving("tok_standin_unnamed"),
    "too_many_attempts": after_a_refusal,
    "internal": saving("tok_standin_forbidden"),
    "stripe_unavailable": saving("tok_standin_unavailable"),
    "overloaded": beside_another_request,
    "storage_unavailable": without_storage,
    "issuer_unavailable": without_the_issuer,
}
DOCUMENTED = {
    **{code: (problem, {}) for code, problem in DOCUMENT["x-problems"].items()},
    **{
        code: (problem, response["headers"])
        for response in RESPONSES.values()
        for code, problem in response.get("x-problems", {}).items()
        # A retired one keeps its page and is no longer answered.
        if not problem.get("retired")
    },
}


@pytest.mark.parametrize("code", DOCUMENTED)
def test_error_is_answered_as_its_example_says(deployment: Deployment, code: str) -> None:
    """Word for word, but for the request's id; with the documented headers."""
    problem, headers = DOCUMENTED[code]
    answer = PROVOKED[code](deployment)
    assert answer.json() == {**problem["example"], "request_id": answer.headers["x-request-id"]}
    assert answer.status_code == problem["example"]["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    for name, documented in headers.items():
        assert is_by(documented, answer.headers[name]), name


def test_success_is_answered_as_its_example_says(deployment: Deployment) -> None:
    """The same members; Stripe chooses the customer's id."""
    example = RESPONSES["200"]["examples"]["application/json"]
    answer = deployment.caller.save(example["coord_targeted_token"])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert {**answer.json(), "customer_id": example["customer_id"]} == example
    assert re.fullmatch(r"cus_\w+", answer.json()["customer_id"])


def test_examples_of_headers_have_their_documented_form() -> None:
    """Those that the mock sends; the request's id is each request's own."""
    for response in RESPONSES.values():
        for name, documented in response["headers"].items():
            assert ("x-example" in documented) == (name != "X-Request-Id")
            assert "x-example" not in documented or is_by(documented, str(documented["x-example"]))


@pytest.mark.parametrize("value", ["-1", "0", "soon", "2.5"])
def test_header_of_another_form_is_seen(value: str) -> None:
    """The comparison of headers is no formality."""
    assert not is_by(RESPONSES["503"]["headers"]["Retry-After"], value)


def is_by(documented: dict[str, Any], value: str) -> bool:
    """Return whether a header's value has the form that the contract documents."""
    try:
        read = json.loads(value) if documented["type"] == "integer" else value
    except ValueError:
        return False
    return bool(Draft4Validator(documented).is_valid(read))
