"""Encrypts card tokens, so that the database's files never hold one in the clear."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# NIST SP 800-38D, section 8.2.2: 96 random bits.
NONCE_BYTES = 12


class Undecryptable(Exception):
    """Raised when a token was encrypted with another secret, or for another attempt."""


class TokenCipher:
    """AES-256-GCM under a key derived from a secret that the database does not hold.

    Deleted rows survive in write-ahead logs, freed pages and backups; an encrypted token there is
    useless without the secret (NIST SP 800-38D; RFC 5869 for the derivation).

    Args:
        secret: Stripe's secret key.
    """

    def __init__(self, secret: str) -> None:
        derive = HKDF(SHA256(), length=32, salt=None, info=b"coord-users attempt token")
        self._cipher = AESGCM(derive.derive(secret.encode()))

    def encrypt(self, token: str, context: str) -> bytes:
        """Return the encrypted token; it can be decrypted with the same `context` only."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, token.encode(), context.encode())

    def decrypt(self, encrypted: bytes, context: str) -> str:
        """Return the token.

        Raises:
            Undecryptable: the secret or the context differs.
        """
        nonce, ciphertext = encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, context.encode()).decode()
        except InvalidTag:
            raise Undecryptable from None
