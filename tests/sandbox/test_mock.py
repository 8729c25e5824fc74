"""The mock as front-end developers meet it: a real process, asked over a real socket."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from support.sandboxed import COMMAND, Printed

from app.contract.document import Contract

DOCUMENT = Contract.shipped("swagger.yaml").document
RESPONSES = DOCUMENT["paths"]["/user/current/stripe_info"]["post"]["responses"]
PROBLEMS = [
    (status, code, problem["example"])
    for status, response in RESPONSES.items()
    for code, problem in response.get("x-problems", {}).items()
]
GOOD = {"coord_targeted_token": "tok_visa"}


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Printed]:
    """Give a mock in a process of its own, in a folder that it must leave empty."""
    folder = tmp_path_factory.mktemp("empty")
    with subprocess.Popen(
        [COMMAND, "mock", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        yield Printed(process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert list(folder.iterdir()) == []


class Page:
    """A page under development that calls the mock."""

    def __init__(self, mock: Printed) -> None:
        self.base = mock.value("Explorer").removesuffix("/ui/")
        self.access_key = mock.value("Access key")
        self.jwt = mock.value("User JWT")

    def save(
        self, *preferences: str, body: Any = None, jwt: str | None = None, **params: str
    ) -> httpx.Response:
        """Save a good card, and prefer some answer."""
        headers = [("Authorization", f"Bearer {jwt or self.jwt}")]
        headers += [("Prefer", preference) for preference in preferences]
        return httpx.post(
            f"{self.base}/user/current/stripe_info",
            params={"access_key": self.access_key, **params},
            headers=headers,
            json=GOOD if body is None else body,
            trust_env=False,
        )


@pytest.fixture(scope="module")
def page(mock: Printed) -> Page:
    return Page(mock)


@pytest.mark.parametrize(("status", "code", "example"), PROBLEMS, ids=lambda it: str(it)[:30])
def test_each_documented_error_is_given_to_those_who_prefer_it(
    page: Page, status: str, code: str, example: dict[str, Any]
) -> None:
    """The example as it stands, with this request's id; and each header that is documented."""
    answer = page.save(f"code={status}, example={code}")
    assert answer.status_code == int(status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {**example, "request_id": answer.headers["x-request-id"]}
    assert {name.lower() for name in RESPONSES[status]["headers"]} <= set(answer.headers)


@pytest.mark.parametrize("preferences", [(), ("code=200",)], ids=["none", "preferred"])
def test_success_is_the_example_with_the_token_that_was_sent(
    page: Page, preferences: tuple[str, ...]
) -> None:
    """The identical object, by the contract's words."""
    answer = page.save(*preferences, body={"coord_targeted_token": "tok_1Mine"})
    example = RESPONSES["200"]["examples"]["application/json"]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {**example, "coord_targeted_token": "tok_1Mine"}


@pytest.mark.parametrize(
    ("preferences", "code"),
    [
        (["code=402"], "card_declined"),
        (["example=overloaded"], "overloaded"),
        (['code="402", example="expired_card"'], "expired_card"),
        (["Code=402", "Example=expired_card"], "expired_card"),
        (["code=402, respond-async, wait=10"], "card_declined"),
    ],
)
def test_preferences_in_other_words(page: Page, preferences: list[str], code: str) -> None:
    """RFC 7240: quoted or not, in one header or several; one of the two may be enough."""
    assert page.save(*preferences).json()["code"] == code


@pytest.mark.parametrize(
    "preference", ["code=418", "example=nothing", "code=401, example=test_user"]
)
def test_preference_for_what_is_not_documented(page: Page, preference: str) -> None:
    """400, rather than a 200 that nobody asked for; the detail lists what there is."""
    problem = page.save(preference).json()
    assert (problem["status"], problem["code"]) == (400, "invalid_request")
    assert "code=402, example=expired_card" in problem["detail"]
    assert "418" not in problem["detail"]


@pytest.mark.parametrize("preference", ["respond-async", "handling=lenient", ""])
def test_preferences_of_others_are_passed_over(page: Page, preference: str) -> None:
    """RFC 7240, section 2."""
    assert page.save(preference).status_code == 200


@pytest.mark.parametrize(
    ("preference", "code"),
    [
        ("decline_code=lost_card", "card_declined"),
        ("example=expired_card, decline_code=x", "expired_card"),
    ],
)
def test_any_decline_code_can_be_preferred(page: Page, preference: str, code: str) -> None:
    """Stripe has dozens, and pages have words of their own for some of them."""
    problem = page.save(preference).json()
    assert (problem["status"], problem["code"]) == (402, code)
    assert preference.endswith(f"decline_code={problem['decline_code']}")


def test_decline_code_of_another_form(page: Page) -> None:
    """400: an answer that breaks the contract is none to develop with."""
    assert page.save("decline_code=Lost-Card").json()["code"] == "invalid_request"


def test_decline_code_is_for_declined_cards(page: Page) -> None:
    """Where another status is preferred as well, that one is given."""
    problem = page.save("code=403, decline_code=lost_card").json()
    assert (problem["code"], "decline_code" in problem) == ("test_user", False)


@pytest.mark.parametrize(
    ("token", "status", "code", "decline_code"),
    [
        ("tok_chargeDeclined", 402, "card_declined", "generic_decline"),
        ("tok_chargeDeclinedInsufficientFunds", 402, "card_declined", "insufficient_funds"),
        ("tok_chargeDeclinedExpiredCard", 402, "expired_card", None),
        ("tok_standin_incorrectZip", 402, "incorrect_zip", None),
        ("tok_standin_inUse", 422, "token_in_use", None),
    ],
)
def test_test_tokens_are_refused_as_in_the_sandbox(
    page: Page, token: str, status: int, code: str, decline_code: str | None
) -> None:
    """So that forms can be tried with no header at all; what is preferred comes first."""
    body = {"coord_targeted_token": token}
    problem = page.save(body=body).json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem.get("decline_code") == decline_code
    assert page.save("code=200", body=body).status_code == 200


def test_requests_are_held_against_the_contract(page: Page) -> None:
    """Whatever is preferred."""
    for answer in (
        page.save("code=200", body={"token": "tok_visa"}),
        page.save("code=200", body={**GOOD, "customer_id": "cus_1"}),
        page.save("code=200", surprise="1"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_credentials_must_be_there_and_well_formed(page: Page) -> None:
    """Each in its turn; none of the mock's own is needed."""
    assert page.save("code=200", access_key="coord_ak_short").json()["code"] == "invalid_access_key"
    assert page.save("code=200", jwt="not.a.jwt").json()["code"] == "invalid_user_token"
    bare = httpx.post(f"{page.base}/user/current/stripe_info", json=GOOD, trust_env=False)
    assert bare.json()["code"] == "invalid_access_key"
    own = jwt.encode({"iss": "https://mine.example/"}, "a secret of my own, long enough for all")
    key = "coord_ak_" + "k" * 43
    assert page.save(jwt=own, access_key=key).status_code == 200


def test_pages_of_this_machine_may_call_and_ask_for_answers(page: Page) -> None:
    """A browser asks first, and lets them send what the mock understands."""
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,prefer",
    }
    asked = httpx.options(f"{page.base}/user/current/stripe_info", headers=headers, trust_env=False)
    assert asked.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "Prefer" in asked.headers["access-control-allow-headers"]


def test_document_is_the_contract(page: Page) -> None:
    """What is particular to the mock is not in it: clients are generated from it."""
    served = httpx.get(f"{page.base}/swagger.json", trust_env=False)
    assert "Prefer" not in served.text
    assert served.json()["definitions"] == DOCUMENT["definitions"]


def test_printed_line_works_as_it_is_pasted(mock: Printed) -> None:
    """It shows how to ask for an answer."""
    assert json.loads(mock.curl().stdout)["code"] == "expired_card"


def test_line_of_the_readme(mock: Printed, page: Page) -> None:
    """It gives what stands below it."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    found = re.search(r"^\$ (curl .*Prefer: .*)\n(.*) \.\.\.$", readme, re.MULTILINE)
    assert found
    done = subprocess.run(
        ["bash", "-c", found[1].replace("http://127.0.0.1:8080/v1/users", page.base)],
        env={**os.environ, "ACCESS_KEY": page.access_key, "USER_JWT": page.jwt},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.startswith(found[2])


def test_prints_each_answer_that_can_be_asked_for(mock: Printed) -> None:
    """One line for each, to copy."""
    for status, code, _ in PROBLEMS:
        assert f"Prefer: code={status}, example={code}" in mock.lines
    assert "Prefer: code=200" in mock.lines


def test_port_that_is_taken(mock: Printed, tmp_path: Path) -> None:
    """One clear line, and exit status 1."""
    port = mock.value("Explorer").split(":")[2].split("/")[0]
    done = subprocess.run(
        [COMMAND, "mock", "--port", port], capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: Port {port} is taken: choose another with --port"
    )
