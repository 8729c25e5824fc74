"""What browsers let pages do: call the API from another origin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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


def test_page_of_another_origin_calls_by_its_own_script(
    page: Page, sandbox: Sandbox, elsewhere: str
) -> None:
    """As a front end under development does: the browser lets it send both credentials and JSON.

    What is refused it reads as well, with the request's id.
    """
    page.goto(elsewhere)
    saved, refused = page.evaluate(
        CALL,
        [f"{sandbox.url}/v1/users/user/current/stripe_info", sandbox.access_key, sandbox.user_jwt],
    )
    assert saved["status"] == 200
    assert re.fullmatch(r"cus_\w+", saved["body"]["customer_id"])
    assert (refused["status"], refused["body"]["code"]) == (402, "card_declined")
    assert refused["id"] == refused["body"]["request_id"]
