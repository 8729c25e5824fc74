"""Whoever was given the contract can go on using it, until its major version is raised."""

import copy
import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract import release
from contract.breaks import breaks, is_major
from contract.changes import BASE, Document, after, put
from contract.changes_of_answers import ANSWERS
from contract.changes_of_requests import REQUESTS
from contract.narrowing import flat

RULES = REQUESTS | ANSWERS


@pytest.mark.parametrize("rule", RULES)
def test_break_is_caught(rule: str) -> None:
    """It says what broke, and whom."""
    change, said, _ = RULES[rule]
    told = [str(one) for one in breaks(BASE, after(change))]
    assert any(said in one for one in told), told


@pytest.mark.parametrize("rule", RULES)
def test_harmless_twin_passes(rule: str) -> None:
    """A change much like it, that breaks nobody, is no break."""
    _, _, change = RULES[rule]
    changed = after(change)
    assert list(breaks(BASE, changed)) == []


def test_no_change_is_no_break() -> None:
    """The same document breaks nobody."""
    assert list(breaks(BASE, copy.deepcopy(BASE))) == []


@pytest.mark.parametrize(
    ("version", "allowed"), [("2.0.0", True), ("10.0.0", True), ("1.9.0", False), ("0.9.0", False)]
)
def test_a_new_major_version_may_break(version: str, allowed: bool) -> None:
    """The major version is a number: 10 comes after 9, and a lower one allows nothing."""
    changed = after(put("basePath", to="/v2"))
    changed["info"]["version"] = version
    assert is_major(BASE, changed) is allowed
    assert (list(release.forbidden(BASE, changed)) == []) is allowed


def test_all_parts_of_a_schema_count() -> None:
    """References and `allOf` are followed: what both demand, the whole demands."""
    document = {
        "definitions": {"Card": {"required": ["a"], "properties": {"a": {"type": "string"}}}}
    }
    whole = {
        "allOf": [
            {"$ref": "#/definitions/Card"},
            {"required": ["b"], "properties": {"a": {"maxLength": 3}}},
        ]
    }
    assert flat(document, whole) == {
        "required": ["a", "b"],
        "properties": {"a": {"type": "string", "maxLength": 3}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": []},
        {"properties": {"a": {"x-nullable": True}}},
        {"pattern": "a", "allOf": [{"pattern": "b"}]},
    ],
)
def test_what_is_not_understood_is_not_passed_over(schema: Any) -> None:
    """Else a break of it would go unseen."""
    with pytest.raises(NotImplementedError):
        flat({}, schema)


def test_contract_breaks_no_client_of_the_released_one() -> None:
    """Clients of the last release go on working, or the major version tells them to look."""
    told = "\n".join(map(str, release.forbidden(release.released(), release.current())))
    assert not told, f"{told}\nTake it back, or raise the major version in `info`."


def test_released_contract_is_the_current_one() -> None:
    """What clients may rely on from now on is written down: the next change is held to it."""
    assert release.released() == release.current(), "Run `python -m contract.release`"


def test_words_may_change() -> None:
    """What only people read is no part of what is released."""
    document = copy.deepcopy(BASE)
    document["info"]["title"] = "Another"
    document["paths"]["/cards"]["post"]["description"] = "Another"
    assert release.relied_on(document) == release.relied_on(BASE)
    # A property of that name is no word.
    document["definitions"]["Card"]["properties"]["title"] = {"type": "string"}
    assert release.relied_on(document) != release.relied_on(BASE)


def test_no_renewal_broke_a_client() -> None:
    """The file's own history shows no break either, as far as this clone has one."""
    versions = [*_history(), release.released()]
    for old, new in itertools.pairwise(versions):
        told = "\n".join(map(str, release.forbidden(old, new)))
        assert not told, f"{told}\nThe released contract was renewed without a new major version."


def _history() -> list[Document]:
    folder = Path(__file__).parent
    log = _git(folder, "log", "--reverse", "--format=%H", "--", release.FILE.name)
    texts = [_git(folder, "show", f"{commit}:./{release.FILE.name}") for commit in log.split()]
    return [yaml.safe_load(text) for text in texts if text]


def _git(folder: Path, *words: str) -> str:
    """Ask git; nothing where there is none, as in an archive of the sources."""
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
