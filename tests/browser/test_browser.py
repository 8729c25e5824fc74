"""The explorer in a browser, against a real server.

The fixture `page` also fails a test when the browser reports an error in a script, a violation of
the page's policy, or a file that is missing or comes from elsewhere.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from browser.explorer_page import authorize, execute, explore, field, reading, saving, shown, unfold

if TYPE_CHECKING:
    from browser.conftest import Sandbox, Server
    from playwright.sync_api import Locator, Page


def test_sandbox_gives_200_with_nothing_typed(page: Page, sandbox: Sandbox) -> None:
    """ "Try it out", "Execute": credentials and a token are there; each load has a fresh token."""
    answers = []
    for _ in range(2):
        explore(page, sandbox.url)
        saving(page).get_by_role("button", name="Try it out").click()
        answers.append(execute(saving(page)))
    assert [answer.status for answer in answers] == ["200", "200"]
    first, second = [answer.body for answer in answers]
    assert re.fullmatch(r"cus_\w+", first["customer_id"])
    assert second["customer_id"] == first["customer_id"]
    assert second["coord_targeted_token"] != first["coord_targeted_token"]


def test_payment_method_that_is_offered_is_saved(page: Page, sandbox: Sandbox) -> None:
    """A body with a fresh PaymentMethod stands above the form, to be copied into it."""
    explore(page, sandbox.url)
    saving(page).get_by_role("button", name="Try it out").click()
    token = execute(saving(page))
    row = saving(page).locator('tr[data-param-name="stripe_info"]')
    body = row.locator("p code", has_text="pm_standin_").inner_text()
    field(saving(page), "stripe_info").fill(body)
    saved = execute(saving(page))
    assert saved.status == "200"
    assert saved.body == {**json.loads(body), "customer_id": token.body["customer_id"]}


def test_one_operation_is_open_and_the_other_is_filled_in_too(page: Page, sandbox: Sandbox) -> None:
    """The one that saves a card; the other, once unfolded, reads the user whose card it is."""
    explore(page, sandbox.url)
    assert page.locator(".opblock").evaluate_all("(all) => all.map((one) => one.id)") == [
        "operations-Users-post_stripe_info",
        "operations-Users-get_user",
    ]
    assert page.locator(".opblock.is-open").count() == 1
    assert page.get_by_role("button", name="Try it out").count() == 1
    saving(page).get_by_role("button", name="Try it out").click()
    saved = execute(saving(page))
    unfold(reading(page))
    reading(page).get_by_role("button", name="Try it out").click()
    read = execute(reading(page))
    assert read.status == "200"
    assert read.body["stripe_info"]["stripe_customer_id"] == saved.body["customer_id"]
    saving(page).locator(".opblock-summary-control").click()
    saving(page).get_by_role("button", name="Execute").wait_for(state="detached")


@pytest.mark.parametrize(
    ("name", "typed", "status", "code"),
    [
        ("stripe_info", '{"coord_targeted_token": "tok_chargeDeclined"}', "402", "card_declined"),
        ("stripe_info", '{"coord_targeted_token": "tok_unknown"}', "422", "resource_missing"),
        ("stripe_info", '{"token": "tok_visa"}', "400", "invalid_request"),
        ("access_key", "not-a-key", "401", "invalid_access_key"),
    ],
    ids=["declined card", "foreign token", "wrong property", "wrong access key"],
)
def test_errors_show_as_documented(
    page: Page, sandbox: Sandbox, name: str, typed: str, status: str, code: str
) -> None:
    """The response has the form of the documented example, and links to the page of its error.

    The example is shown although it is of another type than the answers that succeed.
    """
    explore(page, sandbox.url)
    saving(page).get_by_role("button", name="Try it out").click()
    field(saving(page), name).fill(typed)
    answer = execute(saving(page))
    assert (answer.status, answer.body["code"]) == (status, code)
    documented = saving(page).locator(f'.responses-table tr[data-code="{status}"]').last
    documented.get_by_role("tab", name="Example Value").click()
    example = json.loads(documented.locator(".example code").inner_text())
    assert example["status"] == answer.body["status"] == int(status)
    assert answer.body.keys() <= example.keys()
    with page.expect_popup() as opened:
        documented.get_by_role("link", name=code, exact=True).click()
    explained = opened.value
    assert explained.url == f"{sandbox.url}{answer.body['type']}"
    explained.get_by_role("heading", name=answer.body["title"], exact=True).wait_for()
    explained.get_by_role("heading", name="What to do", exact=True).wait_for()


def test_outside_the_sandbox_people_authorize_by_hand(
    page: Page, server: Server, sandbox: Sandbox
) -> None:
    """Once, then it survives a reload; the JWT may be pasted with or without the word Bearer."""
    explore(page, server.url)
    saving(page).get_by_role("button", name="Try it out").click()
    assert field(saving(page), "access_key").input_value() == ""
    field(saving(page), "access_key").fill(server.access_key)
    without = execute(saving(page))
    assert (without.status, without.body["code"]) == ("401", "invalid_user_token")

    for given in (server.user_jwt, f"Bearer {server.user_jwt}"):
        authorize(page, given)
        explore(page, server.url)
        saving(page).get_by_role("button", name="Try it out").click()
        field(saving(page), "access_key").fill(server.access_key)
        field(saving(page), "stripe_info").fill(
            json.dumps({"coord_targeted_token": sandbox.token()})
        )
        answer = execute(saving(page))
        assert answer.status == "200"
        assert answer.request.headers["authorization"] == f"Bearer {server.user_jwt}"
        assert answer.request.url.count("access_key=") == 1

        page.locator(".auth-wrapper > .authorize").click()
        page.get_by_role("button", name="Remove authorization").click()
        page.get_by_role("button", name="Close").click()


def test_what_people_need_to_give_is_asked_for(page: Page, server: Server) -> None:
    """With no access key nothing is sent: the field that lacks it is marked."""
    explore(page, server.url)
    saving(page).get_by_role("button", name="Try it out").click()
    saving(page).get_by_role("button", name="Execute").click()
    saving(page).locator('tr[data-param-name="access_key"] input.invalid').wait_for()
    assert saving(page).locator(".live-responses-table").count() == 0


def test_sandbox_forgets_what_another_server_here_was_given(page: Page, sandbox: Sandbox) -> None:
    """The next server at this address has other credentials: old ones would only be refused."""
    explore(page, sandbox.url)
    page.locator(".auth-wrapper > .authorize").click()
    page.get_by_role("button", name="Remove authorization").click()
    page.get_by_role("button", name="Close").click()
    authorize(page, f"Bearer {sandbox.test_jwt}")
    saving(page).get_by_role("button", name="Try it out").click()
    assert execute(saving(page)).body["code"] == "test_user"
    assert page.evaluate("localStorage.length") == 0

    old = {"schema": {"type": "apiKey", "in": "header", "name": "Authorization"}, "value": "old"}
    page.evaluate(
        "(old) => localStorage.setItem('authorized', JSON.stringify(old))", {"user_jwt": old}
    )
    explore(page, sandbox.url)
    saving(page).get_by_role("button", name="Try it out").click()
    assert execute(saving(page)).status == "200"


def test_keyboard_alone_is_enough(page: Page, server: Server, sandbox: Sandbox) -> None:
    """From an empty explorer to a 200 with no mouse."""
    explore(page, server.url)
    tab_to(page.locator(".auth-wrapper > .authorize"))
    page.keyboard.press("Enter")
    page.locator(".dialog-ux input:focus").wait_for()
    page.keyboard.type(server.user_jwt)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove authorization").wait_for()
    page.keyboard.press("Escape")
    page.locator(".dialog-ux").wait_for(state="detached")
    tab_to(saving(page).get_by_role("button", name="Try it out"))
    page.keyboard.press("Enter")
    tab_to(field(saving(page), "access_key"))
    page.keyboard.type(server.access_key)
    tab_to(field(saving(page), "stripe_info"))
    page.keyboard.press("Control+A")
    page.keyboard.type(json.dumps({"coord_targeted_token": sandbox.token()}))
    tab_to(saving(page).get_by_role("button", name="Execute"))
    with page.expect_request("**/stripe_info?*") as asked:
        page.keyboard.press("Enter")
    assert shown(saving(page), asked.value).status == "200"


def tab_to(target: Locator) -> None:
    """Press the tabulator until the target has the focus, and shows that it has."""
    for _ in range(60):
        target.page.keyboard.press("Tab")
        if target.evaluate("(one) => one === document.activeElement"):
            assert target.evaluate("(one) => getComputedStyle(one).outlineStyle") == "solid"
            return
    pytest.fail("the tabulator does not lead there")
