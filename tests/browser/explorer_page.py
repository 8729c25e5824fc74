"""The explorer's parts, found as people find them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

# What is sent to the API, and not to Swagger UI's own files.
ASKED = re.compile(r"/v1/users/user/current(/stripe_info)?\?")


class Shown(NamedTuple):
    """An exchange with the API, as the explorer shows it."""

    request: Request
    status: str
    body: Any


def explore(page: Page, url: str) -> None:
    """Open the explorer by the service's address alone."""
    page.goto(url)
    saving(page).get_by_role("button", name="Try it out").wait_for()


def saving(page: Page) -> Locator:
    """Find the operation that saves a card, which is open from the start."""
    return page.locator("#operations-Users-post_stripe_info")


def reading(page: Page) -> Locator:
    """Find the operation that reads the user, which is folded at first."""
    return page.locator("#operations-Users-get_user")


def unfold(operation: Locator) -> None:
    """Open an operation that is folded."""
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").wait_for()


def field(operation: Locator, name: str) -> Locator:
    """Find where a parameter is typed in."""
    return operation.locator(f'tr[data-param-name="{name}"]').locator("input, textarea")


def execute(operation: Locator) -> Shown:
    """Press "Execute", and return what is shown then."""
    with operation.page.expect_request(ASKED) as asked:
        operation.get_by_role("button", name="Execute").click()
    return shown(operation, asked.value)


def shown(operation: Locator, request: Request) -> Shown:
    row = operation.locator(".live-responses-table tbody tr.response")
    row.locator(".highlight-code").wait_for()
    return Shown(
        request,
        row.locator(".response-col_status").inner_text().split()[0],
        json.loads(row.locator(".highlight-code code").inner_text()),
    )


def authorize(page: Page, user_jwt: str) -> None:
    """Enter the user's JWT in the dialog."""
    page.locator(".auth-wrapper > .authorize").click()
    dialog = page.locator(".dialog-ux")
    dialog.get_by_role("textbox").fill(user_jwt)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="detached")
