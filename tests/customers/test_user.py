"""The hash that names a user."""

import hashlib

from app.customers.user import user_hash


def test_hash_is_of_all_four_parts() -> None:
    """It must never change: customers at Stripe carry it."""
    expected = hashlib.sha256(b"inst\0Acme\0https://acme.example/\0user-1").digest()
    assert user_hash("inst", "Acme", "https://acme.example/", "user-1") == expected


def test_subject_may_hold_the_separator() -> None:
    """The other parts cannot, so each user has a hash of its own."""
    subjects = ["a", "\0a", "a\0", "iss\0a"]
    assert len({user_hash("inst", "Acme", "iss", subject) for subject in subjects}) == 4
