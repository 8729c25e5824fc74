"""A client of the released contract keeps working until the major version is raised."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract import release
from contract.breaking_changes import breaks, is_major
from contract.changes import BASE, after, put
from contract.changes_of_answers import ANSWERS
from contract.changes_of_requests import REQUESTS
from contract.narrowing import flat

RULES = REQUESTS | ANSWERS
AS_AUTHOR = ("git", "-c", "user.name=Author", "-c", "user.email=author@example.com")


@pytest.mark.parametrize("rule", RULES)
def test_break_is_caught(rule: str) -> None:
    """It says what broke, and whom."""
    change, said, _ = RULES[rule]
    reported = [str(one) for one in breaks(BASE, after(change))]
    assert any(said in one for one in reported), reported


@pytest.mark.parametrize("rule", RULES)
def test_harmless_twin_passes(rule: str) -> None:
    """A change much like it, that breaks no client, is allowed."""
    _, _, change = RULES[rule]
    changed = after(change)
    assert list(breaks(BASE, changed)) == []


def test_no_change_is_no_break() -> None:
    """The same document breaks no client."""
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


def test_shared_parameters_are_not_passed_over() -> None:
    """Nor are those that a path has for all its operations."""
    with pytest.raises(NotImplementedError):
        list(breaks(BASE, after(put("paths", "/cards", "parameters", to=[]))))


def test_contract_breaks_no_client_of_the_released_one() -> None:
    """Clients of the last release go on working, or the major version tells them to look."""
    reported = "\n".join(map(str, release.forbidden(release.released(), release.current())))
    assert not reported, f"{reported}\nTake it back, or raise the major version in `info`."


def test_released_contract_is_the_current_one() -> None:
    """What clients may rely on from now on is written down: the next change is held to it."""
    assert release.released() == release.current(), "Run `tox run -e renew-contract`"


def test_words_may_change() -> None:
    """What only people read is no part of what is released."""
    document = copy.deepcopy(BASE)
    document["info"]["title"] = "Another"
    document["paths"]["/cards"]["post"]["description"] = "Another"
    document["paths"]["/cards"]["post"]["parameters"][1]["x-example"] = 3
    assert release.relied_on(document) == release.relied_on(BASE)
    assert list(breaks(BASE, document)) == []
    # A property of that name is no word.
    document["definitions"]["Card"]["properties"]["title"] = {"type": "string"}
    assert release.relied_on(document) != release.relied_on(BASE)


def test_no_renewal_broke_a_client() -> None:
    """The file's own history shows no break either, as far as this clone has one."""
    versions = [*release.history(release.FILE.parent), release.released()]
    reported = "\n".join(release.broken_on_the_way(versions))
    assert not reported, (
        f"{reported}\nThe released contract was renewed, with the same major version."
    )


def test_renewal_by_hand_is_seen_in_the_history(tmp_path: Path) -> None:
    """A break that was committed together with a renewed file is reported all the same."""
    broken, raised = after(put("basePath", to="/v2")), after(put("basePath", to="/v3"))
    raised["info"]["version"] = "2.0.0"
    _run(tmp_path, "git", "init", "--quiet")
    for document in (BASE, broken, raised):
        (tmp_path / release.FILE.name).write_text(yaml.safe_dump(document), "utf-8")
        _run(tmp_path, "git", "add", ".")
        _run(tmp_path, *AS_AUTHOR, "commit", "--quiet", "--message", "Renew")
    versions = release.history(tmp_path)
    assert versions == [BASE, broken, raised]
    assert release.broken_on_the_way(versions) == [
        "basePath: it was /v1 and is /v2. It breaks all clients."
    ]


def test_without_git_there_is_no_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of the sources is no clone, and a machine may have no git."""
    assert release.history(tmp_path) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert release.history(release.FILE.parent) == []


def test_release_refuses_to_break_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file stays as it was, and the message names what breaks."""
    file = tmp_path / "released.yaml"
    monkeypatch.setattr(release, "FILE", file)
    assert release.main() == 0
    assert release.released() == release.current()
    had_more = copy.deepcopy(release.current())
    had_more["x-problems"]["gone"] = {"status": 410}
    file.write_text(yaml.safe_dump(had_more), "utf-8")
    assert release.main() == 1
    assert release.released() == had_more
    assert capsys.readouterr().err == (
        "the code gone: it is gone. It breaks clients that decide by gone.\n"
        "Take it back, or raise the major version in `info`.\n"
    )


def _run(folder: Path, *words: str) -> None:
    subprocess.run(words, cwd=folder, check=True)
