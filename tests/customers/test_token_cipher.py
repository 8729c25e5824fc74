"""Card tokens are unreadable in the database's files."""

import pytest

from app.customers.token_cipher import Seal, Unreadable


def test_what_is_sealed_can_be_opened() -> None:
    seal = Seal("sk_test_one")
    sealed = seal.close("tok_1", "attempt 1")
    assert b"tok_1" not in sealed
    assert seal.open(sealed, "attempt 1") == "tok_1"
    assert Seal("sk_test_one").open(sealed, "attempt 1") == "tok_1"


def test_the_same_token_looks_different_each_time() -> None:
    seal = Seal("sk_test_one")
    assert seal.close("tok_1", "attempt 1") != seal.close("tok_1", "attempt 1")


def test_nothing_else_opens_it() -> None:
    """Another secret, another attempt's row, or a changed byte."""
    seal = Seal("sk_test_one")
    sealed = seal.close("tok_1", "attempt 1")
    for other, content, context in (
        (Seal("sk_test_two"), sealed, "attempt 1"),
        (seal, sealed, "attempt 2"),
        (seal, sealed[:-1] + bytes([sealed[-1] ^ 1]), "attempt 1"),
    ):
        with pytest.raises(Unreadable):
            other.open(content, context)
