"""Schemathesis against a real server, with credentials and without them."""

import random
from pathlib import Path
from typing import NamedTuple

import pytest
from contract.fuzz import Target, fuzz

pytestmark = pytest.mark.contract

FIXED_SEED = 20260101


# Well-formed, and unknown to the service.
UNKNOWN_KEY = "coord_ak_" + 43 * "A"


class Try(NamedTuple):
    """One run of Schemathesis, and which of its credentials are good."""

    name: str
    access_key: bool
    user_jwt: bool
    is_random: bool
    cases: int
    document: str = "swagger.json"


TRIES = (
    Try("both-credentials-fixed-seed", True, True, False, 300),
    Try("both-credentials-random-seed", True, True, True, 300),
    Try("openapi3-both-credentials", True, True, True, 50, "openapi.json"),
    Try("openapi3-no-credentials", False, False, True, 20, "openapi.json"),
    Try("no-credentials-fixed-seed", False, False, False, 100),
    Try("no-credentials-random-seed", False, False, True, 100),
    Try("access-key-without-user-jwt", True, False, True, 50),
    Try("user-jwt-with-unknown-access-key", False, True, True, 50),
)


@pytest.mark.parametrize("tried", TRIES, ids=lambda tried: tried.name)
def test_no_answer_breaks_the_contract(
    tried: Try, target: Target, artifacts: Path, request: pytest.FixtureRequest
) -> None:
    """All checks, all phases; the reports tell what was tried, and hold no credential."""
    seed = FIXED_SEED
    if tried.is_random:
        again = request.config.getoption("--seed")
        seed = random.SystemRandom().randrange(2**32) if again is None else again
    folder = artifacts / tried.name
    if tried.user_jwt and not tried.access_key:
        access_key = UNKNOWN_KEY
    else:
        access_key = target.access_key if tried.access_key else ""
    aimed = target._replace(
        access_key=access_key, user_jwt=target.user_jwt if tried.user_jwt else ""
    )
    cases = request.config.getoption("--cases") or tried.cases
    is_good = tried.access_key and tried.user_jwt
    run = fuzz(aimed, folder, seed=seed, cases=cases, is_good=is_good, document=tried.document)
    assert run.passed, run.output
    assert (folder / "junit.xml").stat().st_size
    assert (folder / "html" / "index.html").stat().st_size
    for file in folder.rglob("*"):
        if file.is_file():
            kept = file.read_bytes()
            assert target.access_key.encode() not in kept, file
            assert target.user_jwt.encode() not in kept, file
