"""The time that a wrong access key takes tells nothing of a right one, by how it is looked up."""

import secrets
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import event
from support.serving import Partner

from app.errors import InvalidAccessKey
from app.identity.credentials import KEY_PREFIX, Identity
from app.storage.database import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Watched(str):
    """A key that tells when it is compared with another, letter by letter."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("keys are compared")


def nearly(key: str, letters: int) -> str:
    """Return a key that shares so many of its first letters with another, and no more."""
    other = "A" if key[letters] != "A" else "B"
    rest = secrets.token_urlsafe(64)[: len(key) - letters - 1]
    return key[:letters] + other + rest


async def test_wrong_keys_differ_in_nothing_but_their_hash(
    database: Database, partner: Partner
) -> None:
    """Near or far, cached or not: the same one statement, which holds a hash and nothing else."""
    asked: list[tuple[str, Any]] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, parameters, *_: asked.append((statement, parameters)),
    )
    identity = Identity(database.engine)
    key = partner.access_key
    for _ in range(2):
        guesses = [nearly(key, letters) for letters in range(len(KEY_PREFIX), len(key))]
        for guess in guesses:
            asked.clear()
            with pytest.raises(InvalidAccessKey) as refused:
                await identity.partner_of(Watched(guess))
            assert str(refused.value) == str(InvalidAccessKey())
            ((statement, parameters),) = [one for one in asked if one[0].startswith("SELECT")]
            *others, given = parameters
            assert bytes(given) == sha256(guess.encode()).digest()
            assert {type(other) for other in others} == {float}
            assert "key_hash IN" in statement
        # The right one is kept from now on; the wrong ones are not found any faster.
        assert await identity.partner_of(key)
