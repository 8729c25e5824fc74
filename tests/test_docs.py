"""The READMEs name each link, variable, metric, alert and command that exists."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from app import config
from app.cli import main
from app.config import Settings
from app.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")),
    *(ROOT / folder / "README.md" for folder in ("app", "deploy", "openapi", "tests")),
    ROOT / "tests/bench/README.md",
]
OPERATORS = (ROOT / "deploy/README.md").read_text()
# Words that are not plain technical English.
BANNED = re.compile(r"\b(whoever|nobody|somebody|those who|borne|heed(ed)?|mend(ed)?)\b", re.I)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_target(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_language_is_plain(page: Path) -> None:
    assert [found[0] for found in BANNED.finditer(page.read_text())] == []


def test_first_page_is_short() -> None:
    """At most 170 lines."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 170


def test_each_variable_is_explained() -> None:
    variables = set(re.findall(r'\(\s*"([A-Z][A-Z_]+)"', inspect.getsource(config)))
    assert len(variables) > 10
    assert variables - set(re.findall(r"^\| `(\w+)`", OPERATORS, re.MULTILINE)) == set()


def test_service_keeps_idle_connections_longer_than_nginx() -> None:
    """Else nginx sends a request on one that is just closed, and answers 502."""
    text = (ROOT / "deploy/nginx.conf").read_text()
    (kept,) = re.findall(r"^ +keepalive_timeout (\d+)s;", text, re.MULTILINE)
    # nginx's own default, and that of AWS's load balancers.
    assert int(kept) == 60 < Settings().keep_alive_seconds


def test_each_metric_is_explained() -> None:
    metrics = {
        family.name for family in Metrics().registry.collect() if family.name.startswith("coord_")
    }
    assert {name for name in metrics if name not in OPERATORS} == set()


def test_each_alert_has_its_entry() -> None:
    """At the anchor that the alert names."""
    groups = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "deploy/README.md"
        assert anchor == rule["alert"].lower()
        assert anchor in anchors(ROOT / page)


def test_each_command_is_listed() -> None:
    for command in commands(main):
        first, *more = command.split()
        assert re.search(rf"^\|.*`{first}\b", OPERATORS, re.MULTILINE), command
        assert all(re.search(rf"\b{word}\b", OPERATORS) for word in more), command


def commands(group: click.Group) -> Iterator[str]:
    """Yield each command as it is typed."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from (f"{name} {more}" for more in commands(command))
        else:
            yield name
