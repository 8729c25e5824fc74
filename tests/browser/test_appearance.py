"""How the explorer and the pages on errors look: narrow, dark, legible, true to the seed's text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import yaml
from browser.explorer_page import execute, explore, field, reading, saving, unfold

if TYPE_CHECKING:
    from browser.conftest import Sandbox
    from playwright.sync_api import Page

SEED = Path(__file__).parent.parent / "data" / "seed.yaml"
LAPTOP = {"width": 1366, "height": 768}
NARROW = {"width": 375, "height": 667}
# Names each text whose contrast is too small: its colour laid over all that is behind it, by the
# relative luminance of https://www.w3.org/TR/WCAG22/#dfn-relative-luminance.
FAINT = r"""() => {
    const parts = (color) => {
        const [red, green, blue, opacity = 1] = color.match(/[\d.]+/g).map(Number);
        return [red, green, blue, opacity];
    };
    const over = (above, below) => above.slice(0, 3).map(
        (part, at) => part * above[3] + below[at] * (1 - above[3])
    );
    const linear = (part) =>
        part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
    const luminance = ([red, green, blue]) =>
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const behind = (one) => {
        const below = one ? behind(one.parentElement) : [255, 255, 255];
        return one ? over(parts(getComputedStyle(one).backgroundColor), below) : below;
    };
    const hasText = (one) =>
        [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    return [...document.body.querySelectorAll("*")]
        .filter((one) => one.checkVisibility() && hasText(one))
        .filter((one) => {
            const style = getComputedStyle(one);
            const below = behind(one);
            const [dark, light] = [over(parts(style.color), below), below]
                .map(luminance)
                .sort((one, other) => one - other);
            const size = parseFloat(style.fontSize);
            const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
            return (light + 0.05) / (dark + 0.05) < (isLarge ? 3 : 4.5);
        })
        .map((one) => `${one.tagName}.${one.className}: ${one.textContent.trim().slice(0, 40)}`);
}"""


def test_narrow_screens_need_no_scrolling_sideways(page: Page, sandbox: Sandbox) -> None:
    """On a telephone all fits, answers included; long lines of code scroll in their own frame."""
    page.set_viewport_size(NARROW)
    for address in ("problems/", "problems/resource_missing", "ui/"):
        page.goto(f"{sandbox.url}/v1/users/{address}")
        page.get_by_role("heading").first.wait_for()
        assert too_wide(page) == []
    saving(page).get_by_role("button", name="Try it out").click()
    assert execute(saving(page)).status == "200"
    assert too_wide(page) == []
    unfold(reading(page))
    reading(page).get_by_role("button", name="Try it out").click()
    assert execute(reading(page)).status == "200"
    assert too_wide(page) == []
    closed = page.locator(".models [aria-expanded=false]")
    while closed.count():
        closed.first.click()
    assert page.get_by_text("readOnly").first.is_visible()
    assert too_wide(page) == []
    page.locator(".auth-wrapper > .authorize").click()
    page.get_by_role("heading", name="Available authorizations").wait_for()
    assert too_wide(page) == []


def too_wide(page: Page) -> list[str]:
    """Name what reaches beyond the screen, or beyond its own box, and has no frame to scroll in."""
    return list(
        page.evaluate(
            """() => [...document.body.querySelectorAll("*")].filter((one) => {
                const framed = one.parentElement.closest("pre, .microlight");
                const box = one.parentElement.closest(".opblock") ?? document.documentElement;
                const most = box.getBoundingClientRect().right;
                return !framed && one.getBoundingClientRect().right > most;
            }).map((one) => `${one.tagName}.${one.className}`)"""
        )
    )


def test_first_screen_of_a_laptop_has_all_that_is_needed(page: Page, sandbox: Sandbox) -> None:
    """What the service is, that this is the sandbox, and the button to try it; examples fold."""
    page.set_viewport_size(LAPTOP)
    explore(page, sandbox.url)
    for shown in (
        page.get_by_text("the user gets one lasting Stripe customer"),
        page.get_by_text("This is the sandbox"),
        saving(page).get_by_role("button", name="Try it out"),
    ):
        box = shown.bounding_box()
        assert box
        assert box["y"] + box["height"] <= LAPTOP["height"]
    assert page.locator(".example").count() == 0
    assert page.locator("details[open]").count() == 0


def test_descriptions_of_the_seed_read_well(page: Page, sandbox: Sandbox) -> None:
    """The seed's text is there, word for word and once, its code in blocks with their lines."""
    [seed] = (one for one in yaml.safe_load_all(SEED.read_text()) if one)
    text = seed["info"]["description"]
    fence = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    explore(page, sandbox.url)
    description = page.locator(".info .description details")
    summary = description.locator("summary")
    summary.click()
    assert description.locator("pre > code").all_text_contents() == fence.findall(text)
    rendered = " ".join(description.inner_text().removeprefix(summary.inner_text()).split())
    assert rendered == " ".join(text.replace("`", "").split())
    assert page.get_by_text("Assuming your already have a customer").count() == 1
    assert [saving(page).count(), reading(page).count()] == [1, 1]
    assert page.locator(".opblock").count() == 2
    assert description.locator("p br").evaluate_all(
        "(breaks) => breaks.every((one) => getComputedStyle(one).display === 'none')"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(
    page: Page, sandbox: Sandbox, scheme: Literal["light", "dark"]
) -> None:
    """By WCAG 2.2, 1.4.3: a contrast of 4.5 to 1, or of 3 to 1 where the letters are large."""
    page.emulate_media(color_scheme=scheme)
    for address in ("problems/", "problems/resource_missing", "ui/"):
        page.goto(f"{sandbox.url}/v1/users/{address}")
        page.get_by_role("heading").first.wait_for()
        assert page.evaluate(FAINT) == []
    saving(page).get_by_role("button", name="Try it out").click()
    field(saving(page), "stripe_info").fill('{"coord_targeted_token": "tok_chargeDeclined"}')
    assert execute(saving(page)).status == "402"
    assert page.evaluate(FAINT) == []
    unfold(reading(page))
    reading(page).get_by_role("button", name="Try it out").click()
    assert execute(reading(page)).status == "200"
    assert page.evaluate(FAINT) == []
    page.locator(".auth-wrapper > .authorize").click()
    page.get_by_role("heading", name="Available authorizations").wait_for()
    assert page.evaluate(FAINT) == []


def test_pages_follow_the_wish_for_darkness(page: Page, sandbox: Sandbox) -> None:
    """Where the system is dark, so are the explorer and the pages on errors."""
    page.emulate_media(color_scheme="dark")
    for address in ("problems/card_declined", "problems/", "ui/"):
        page.goto(f"{sandbox.url}/v1/users/{address}")
        page.get_by_role("heading").first.wait_for()
        for element, style in (("body", "backgroundColor"), ("h1", "color")):
            [red, green, blue] = page.locator(element).evaluate(
                "(one, style) => getComputedStyle(one)[style].match(/\\d+/g).map(Number)", style
            )
            is_light = min(red, green, blue) > 160
            assert is_light == (element == "h1")
