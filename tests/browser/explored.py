"""The explorer's parts, found as people find them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request


class Shown(NamedTuple):
    """An exchange with the API, as the explorer shows it."""

    request: Request
    status: str
    body: Any


def explore(page: Page, url: str) -> None:
    """Open the explorer by the service's address alone."""
    page.goto(url)
    page.get_by_role("button", name="Try it out").wait_for()


def field(page: Page, name: str) -> Locator:
    """Find where a parameter is typed in."""
    return page.locator(f'tr[data-param-name="{name}"]').locator("input, textarea")


def execute(page: Page) -> Shown:
    """Press "Execute", and read what is shown then."""
    with page.expect_request("**/stripe_info?*") as asked:
        page.get_by_role("button", name="Execute").click()
    return shown(page, asked.value)


def shown(page: Page, request: Request) -> Shown:
    row = page.locator(".live-responses-table tbody tr.response")
    row.locator(".highlight-code").wait_for()
    return Shown(
        request,
        row.locator(".response-col_status").inner_text().split()[0],
        json.loads(row.locator(".highlight-code code").inner_text()),
    )


def authorize(page: Page, user_jwt: str) -> None:
    """Give the user's JWT in the dialog, by hand."""
    page.locator(".auth-wrapper > .authorize").click()
    dialog = page.locator(".dialog-ux")
    dialog.get_by_role("textbox").fill(user_jwt)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="detached")
