"""The partner whose users call: one access key, and a JWT for each user, signed beforehand.

User number 7 has the card token `tok_7`, of which the stub makes `cus_7`. Subjects are as good as
random, so that calls are spread over the index of all users.
"""

import hashlib
import multiprocessing
import os
import subprocess
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jwt
from bench.processes import tool
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://bench.example/"
AUDIENCE = "https://api.coord.co"
SECRET_KEY = "sk_test_bench"
# How many JWTs are worth a process of their own.
CHUNK = 500


class Callers:
    """A partner and its users.

    Args:
        folder: takes the keys, the JWTs, and a database in which the partner is registered.
        number: how many users it has.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        private = generate_private_key(65537, 2048)
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self.public_key = folder / "public.pem"
        self.public_key.write_bytes(
            private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        jwk = RSAAlgorithm.to_jwk(private.public_key())
        key = f'{{"keys": [{{"kid": "k1", "alg": "RS256", "use": "sig", {jwk[1:]}]}}'
        (folder / "jwks.json").write_text(key)
        self.template = folder / "template.db"
        self.access_key = self.register(f"sqlite:///{self.template}")
        sign = partial(_signed, pem, int(time.time()))
        if number <= CHUNK:
            self.jwts = [sign(each) for each in range(number)]
        else:
            with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
                self.jwts = pool.map(sign, range(number), chunksize=CHUNK)
        # For wrk, which makes its requests itself.
        self.file = folder / "callers.txt"
        self.file.write_text("\n".join([self.access_key, *self.jwts]) + "\n")

    def register(self, database_url: str) -> str:
        """Do in a database what an operator would, and give a new access key."""
        key = ["--jwks-file", str(self._folder / "jwks.json")]
        issuer = ["--issuer", ISSUER, "--audience", AUDIENCE]
        _coord_users(database_url, "migrate")
        _coord_users(database_url, "partner", "add", "Bench", *issuer, *key)
        return _coord_users(database_url, "access-key", "create", "Bench")


def subject(number: int) -> str:
    """Return a user's `sub`; SQL can tell it likewise."""
    return hashlib.md5(str(number).encode()).hexdigest()


@lru_cache
def _key(pem: bytes) -> Any:
    """Read the key once for each process, as that takes longer than signing does."""
    return serialization.load_pem_private_key(pem, None)


def _signed(pem: bytes, now: int, number: int) -> str:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject(number),
        "iat": now,
        "exp": now + 86400,
    }
    return jwt.encode(claims, _key(pem), algorithm="RS256", headers={"kid": "k1"})


def _coord_users(database_url: str, *arguments: str) -> str:
    result = subprocess.run(
        [tool("coord-users"), *arguments],
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        timeout=60,
        check=True,
        text=True,
    )
    return result.stdout.strip()
