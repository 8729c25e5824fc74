"""Card tokens are unreadable in the database's files."""

import pytest

from app.customers.token_cipher import TokenCipher, Undecryptable


def test_what_is_sealed_can_be_opened() -> None:
    seal = TokenCipher("sk_test_one")
    sealed = seal.encrypt("tok_1", "attempt 1")
    assert b"tok_1" not in sealed
    assert seal.decrypt(sealed, "attempt 1") == "tok_1"
    assert TokenCipher("sk_test_one").decrypt(sealed, "attempt 1") == "tok_1"


def test_the_same_token_looks_different_each_time() -> None:
    seal = TokenCipher("sk_test_one")
    assert seal.encrypt("tok_1", "attempt 1") != seal.encrypt("tok_1", "attempt 1")


def test_nothing_else_opens_it() -> None:
    """Another secret, another attempt's row, or a changed byte."""
    seal = TokenCipher("sk_test_one")
    sealed = seal.encrypt("tok_1", "attempt 1")
    for other, content, context in (
        (TokenCipher("sk_test_two"), sealed, "attempt 1"),
        (seal, sealed, "attempt 2"),
        (seal, sealed[:-1] + bytes([sealed[-1] ^ 1]), "attempt 1"),
    ):
        with pytest.raises(Undecryptable):
            other.decrypt(content, context)
