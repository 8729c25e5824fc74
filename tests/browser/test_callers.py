"""What browsers let pages do: choose the mock's answers, and call from another origin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browser.explored import execute, explore

if TYPE_CHECKING:
    from browser.conftest import Sandbox
    from playwright.sync_api import Page

CALL = """async ([address, accessKey, userJwt]) => {
    const save = async (token) => {
        const answer = await fetch(`${address}?access_key=${accessKey}`, {
            method: "POST",
            headers: { Authorization: `Bearer ${userJwt}`, "Content-Type": "application/json" },
            body: JSON.stringify({ coord_targeted_token: token }),
        });
        return {
            status: answer.status,
            id: answer.headers.get("X-Request-Id"),
            body: await answer.json(),
        };
    };
    return [await save("tok_visa"), await save("tok_chargeDeclined")];
}"""


def test_mock_shows_each_documented_answer(page: Page, mock: str) -> None:
    """Nothing needs to be typed: the answer is chosen from a list, and by default all is well."""
    explore(page, mock)
    page.get_by_role("button", name="Try it out").click()
    assert execute(page).status == "200"
    choice = page.locator('tr[data-param-name="Prefer"] select')
    for preference, status, code in (
        ("code=402, example=expired_card", "402", "expired_card"),
        ("code=503, example=stripe_unavailable", "503", "stripe_unavailable"),
    ):
        choice.select_option(preference)
        page.get_by_role("button", name="Clear").click()
        answer = execute(page)
        assert answer.request.headers["prefer"] == preference
        assert (answer.status, answer.body["code"]) == (status, code)


@pytest.mark.parametrize("kind", ["sandbox", "mock"])
def test_page_of_another_origin_calls_by_its_own_script(
    page: Page, sandbox: Sandbox, mock: str, elsewhere: str, kind: str
) -> None:
    """As a front end under development does: the browser lets it send both credentials and JSON.

    What is refused it reads as well, with the request's id.
    """
    url = {"sandbox": sandbox.url, "mock": mock}[kind]
    page.goto(elsewhere)
    saved, refused = page.evaluate(
        CALL, [f"{url}/v1/users/user/current/stripe_info", sandbox.access_key, sandbox.user_jwt]
    )
    assert saved["status"] == 200
    assert re.fullmatch(r"cus_\w+", saved["body"]["customer_id"])
    assert (refused["status"], refused["body"]["code"]) == (402, "card_declined")
    assert refused["id"] == refused["body"]["request_id"]
