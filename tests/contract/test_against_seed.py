"""The contract held against its seed, key by key: what is repaired, what is added, nothing else."""

import copy
import importlib.resources
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from openapi_spec_validator import OpenAPIV2SpecValidator

Where = tuple[str | int, ...]

OPERATION: Where = ("paths", "/user/current/stripe_info", "post")
ACCESS_KEY: Where = (*OPERATION, "parameters", 0)
STRIPE_INFO: Where = (*OPERATION, "parameters", 1)
RESPONSES: Where = (*OPERATION, "responses")
ABSENT = "(absent)"


class Repair(NamedTuple):
    """What the seed has, what the contract has in its place, and why it must."""

    where: Where
    before: Any
    after: Any
    reason: str


# Besides these the seed ends in a second document marker, for which there is a test of its own.
REPAIRS = (
    Repair(
        (*ACCESS_KEY, "type"),
        ABSENT,
        "string",
        "Swagger 2.0, Parameter Object: a parameter that is not in the body has a type",
    ),
    Repair(
        (*STRIPE_INFO, "schema", "$ref"),
        "#/definitions/holder",
        "#/definitions/StripeInfo",
        "there is no such definition; the parameter's description names the model `StripeInfo`",
    ),
)
KEY_REPAIRS = (
    Repair(
        (*RESPONSES, 200),
        200,
        "200",
        "a JSON object's keys are strings: strict validators refuse an integer",
    ),
)

EXTENSIONS: dict[Where, str] = {
    ("tags",): "what the operation's tags mean",
    ("securityDefinitions", "access_key"): "the credential of the calling application",
    ("securityDefinitions", "user_jwt"): "the credential of the user",
    (*OPERATION, "produces"): "errors are of a type of their own",
    (*OPERATION, "security"): "both credentials are needed",
    (*ACCESS_KEY, "required"): "no request does without it",
    (*STRIPE_INFO, "required"): "no request does without it",
    (*RESPONSES, "200", "schema"): "the model, with the customer's id",
    (*RESPONSES, "200", "headers"): "the request's id",
    (*RESPONSES, "200", "examples"): "an answer as it looks",
    (*RESPONSES, "400"): "the request breaks the contract",
    (*RESPONSES, "401"): "a credential is missing or not valid",
    (*RESPONSES, "402"): "the card was refused",
    (*RESPONSES, "403"): "a test user, or credentials of two partners",
    (*RESPONSES, "408"): "the body did not arrive in time",
    (*RESPONSES, "409"): "another update of the user is under way",
    (*RESPONSES, "413"): "the body is too large",
    (*RESPONSES, "415"): "the body is not JSON",
    (*RESPONSES, "422"): "the token cannot be used",
    (*RESPONSES, "429"): "too many refused cards",
    (*RESPONSES, "500"): "our fault",
    (*RESPONSES, "503"): "the outcome is not known, or there is no room",
    ("paths", "/user/current"): "the operation that reads what the seed's text promises systems",
    ("definitions", "StripeInfo"): "the model that the seed only names",
    ("definitions", "User"): "the object that systems' paths lead into",
    ("definitions", "UserStripeInfo"): "its part about Stripe",
    ("definitions", "Problem"): "the shape of all errors",
    ("x-problems", "not_found"): "404, which no operation can document",
    ("x-problems", "method_not_allowed"): "405, which no operation can document",
}


@pytest.fixture
def contract() -> Any:
    """Return the contract as it is shipped."""
    return yaml.safe_load(_shipped())


@pytest.fixture
def seed() -> Any:
    """Return the first document of the seed: a marker at its end begins a second, empty one."""
    return next(iter(yaml.safe_load_all(_seed())))


def test_one_document_where_the_seed_has_two() -> None:
    """The seed's last line begins an empty document, which no loader of Swagger takes."""
    assert len(list(yaml.safe_load_all(_seed()))) == 2
    with pytest.raises(yaml.composer.ComposerError):
        yaml.safe_load(_seed())
    assert len(list(yaml.safe_load_all(_shipped()))) == 1


def test_what_the_seed_states_stands(contract: Any, seed: Any) -> None:
    """All that the seed has, repairs made, is there unchanged, and all else is a listed extension.

    Types count too: 0 is not false.
    """
    assert list(_differences(_repaired(seed), contract)) == []


@pytest.mark.parametrize("repair", REPAIRS, ids=lambda repair: repair.where[-1])
def test_repair_is_there(contract: Any, seed: Any, repair: Repair) -> None:
    """The seed has what the list says that it had, and the contract what the list says it has."""
    assert _at(seed, repair.where) == repair.before
    assert _at(contract, repair.where) == repair.after
    assert repair.before != repair.after


@pytest.mark.parametrize("repair", KEY_REPAIRS, ids=lambda repair: repair.where[-1])
def test_repair_of_a_key_is_there(contract: Any, seed: Any, repair: Repair) -> None:
    """The seed has the one key and the contract the other."""
    *parents, _ = repair.where
    assert repair.before in _at(seed, parents)
    assert repair.after not in _at(seed, parents)
    assert repair.after in _at(contract, parents)
    assert repair.before not in _at(contract, parents)


@pytest.mark.parametrize("repair", [*REPAIRS, *KEY_REPAIRS], ids=lambda repair: repair.where[-1])
def test_repair_is_needed(contract: Any, repair: Repair) -> None:
    """Undone, it leaves a document that is not valid Swagger 2.0."""
    assert _is_valid(contract)
    if repair in KEY_REPAIRS:
        _rename(contract, repair.where, repair.after, repair.before)
    else:
        _put(contract, repair.where, repair.before)
    assert not _is_valid(contract)


@pytest.mark.parametrize("where", EXTENSIONS, ids=lambda where: ".".join(map(str, where[-2:])))
def test_extension_is_there(contract: Any, seed: Any, where: Where) -> None:
    """The contract has what the list of extensions names, and the seed has it not."""
    assert _at(contract, where) != ABSENT
    assert _at(seed, where) == ABSENT


def test_any_loss_is_seen(contract: Any, seed: Any) -> None:
    """Whatever the seed states, the comparison misses it where it is gone or another."""
    repaired = _repaired(seed)
    for where in _places(repaired):
        for other in (ABSENT, "something else", None):
            changed = copy.deepcopy(contract)
            _put(changed, where, other)
            assert list(_differences(repaired, changed)), (where, other)


def test_any_addition_is_seen(contract: Any, seed: Any) -> None:
    """Wherever the seed has an object or a list, the comparison sees a new member in it."""
    repaired = _repaired(seed)
    for where in [(), *_places(repaired)]:
        value = _at(contract, where)
        if isinstance(value, dict | list):
            changed = copy.deepcopy(contract)
            new = "x-new" if isinstance(value, dict) else len(value)
            _put(changed, (*where, new), "something")
            assert list(_differences(repaired, changed)) == [f"new: {(*where, new)}"]


def _seed() -> str:
    return (Path(__file__).parents[1] / "data" / "seed.yaml").read_text("utf-8")


def _shipped() -> str:
    return importlib.resources.files("app.openapi").joinpath("swagger.yaml").read_text("utf-8")


def _differences(old: Any, new: Any, where: Where = ()) -> Iterator[str]:
    """Yield where `new` has not what `old` has, or has more than the extensions allow."""
    if type(old) is not type(new):
        yield f"changed: {where}"
    elif isinstance(old, dict | list):
        old_keys, new_keys = _keys(old), _keys(new)
        for key in old_keys:
            if key in new_keys:
                yield from _differences(old[key], new[key], (*where, key))
            else:
                yield f"lost: {(*where, key)}"
        for key in new_keys:
            if key not in old_keys:
                yield from _unlisted(new[key], (*where, key))
    elif old != new:
        yield f"changed: {where}"


def _unlisted(value: Any, where: Where) -> Iterator[str]:
    """Yield what is new and no extension; an object that only holds extensions is one."""
    if where in EXTENSIONS:
        return
    if any(listed[: len(where)] == where for listed in EXTENSIONS) and isinstance(value, dict):
        for key in value:
            yield from _unlisted(value[key], (*where, key))
    else:
        yield f"new: {where}"


def _repaired(seed: Any) -> Any:
    document = copy.deepcopy(seed)
    for repair in REPAIRS:
        _put(document, repair.where, repair.after)
    for repair in KEY_REPAIRS:
        _rename(document, repair.where, repair.before, repair.after)
    return document


def _is_valid(document: Any) -> bool:
    try:
        return OpenAPIV2SpecValidator(document).is_valid()
    except Exception:
        return False


def _keys(node: Any) -> list[Any]:
    return list(node) if isinstance(node, dict) else list(range(len(node)))


def _places(node: Any, where: Where = ()) -> Iterator[Where]:
    if isinstance(node, dict | list):
        for key in _keys(node):
            yield (*where, key)
            yield from _places(node[key], (*where, key))


def _at(node: Any, where: Iterable[str | int]) -> Any:
    for key in where:
        if key not in _keys(node):
            return ABSENT
        node = node[key]
    return node


def _put(document: Any, where: Where, value: Any) -> None:
    *parents, last = where
    parent = _at(document, parents)
    if value == ABSENT:
        del parent[last]
    elif isinstance(parent, list) and last == len(parent):
        parent.append(value)
    else:
        parent[last] = value


def _rename(document: Any, where: Where, before: Any, after: Any) -> None:
    parent = _at(document, where[:-1])
    parent[after] = parent.pop(before)
