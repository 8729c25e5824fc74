"""Keeps card tokens out of the database's files: what is stored of a token is sealed."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12


class Unreadable(Exception):
    """Raised when what was sealed cannot be opened: the secret has changed since."""


class Seal:
    """AES-256-GCM under a key derived from a secret that the database does not hold.

    Deleted rows live on in write-ahead logs, freed pages and backups; a sealed token there is
    of no use to whoever reads them (NIST SP 800-38D; RFC 5869 for the derivation).
    """

    def __init__(self, secret: str) -> None:
        derive = HKDF(SHA256(), length=32, salt=None, info=b"coord-users attempt token")
        self._cipher = AESGCM(derive.derive(secret.encode()))

    def close(self, text: str, context: str) -> bytes:
        """Seal `text`; only the same `context` opens it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())

    def open(self, sealed: bytes, context: str) -> str:
        """Give the text back.

        Raises:
            Unreadable: the secret or the context is another.
        """
        nonce, encrypted = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, encrypted, context.encode()).decode()
        except InvalidTag:
            raise Unreadable from None
