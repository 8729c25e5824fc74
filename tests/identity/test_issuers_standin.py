"""A stand-in for partners' issuers: it signs JWTs, forges them, and publishes its keys.

What the other tests of identity rely on is tested here.
"""

import json
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

NOW = 1_800_000_000
ISSUER = "https://issuer.example/"
AUDIENCE = "https://api.coord.co"
SECRET = bytes(range(100, 132))
DEADLINE = 10.0
LEFT_OUT = object()

ALGORITHMS = get_default_algorithms()
GENERATE: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Clock:
    """Stands still unless told otherwise, in seconds."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Signer:
    """A key pair of an issuer, or a secret."""

    def __init__(self, algorithm: str, kid: str, private: Any) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.private = private

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half, as published."""
        public = ALGORITHMS[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        return {
            **{name: value for name, value in public.items() if name != "key_ops"},
            "kid": self.kid,
            "use": "sig",
            "alg": self.algorithm,
        }

    @property
    def private_jwk(self) -> dict[str, Any]:
        """Both halves, as nobody should publish them."""
        return dict(ALGORITHMS[self.algorithm].to_jwk(self.private, as_dict=True))

    def sign(self, message: bytes, algorithm: str | None = None) -> bytes:
        """Sign, with another algorithm than the key's own if need be."""
        return ALGORITHMS[algorithm or self.algorithm].sign(message, self.private)


@cache
def signer(algorithm: str = "RS256", kid: str = "key-1") -> Signer:
    """Give the same key pair each time."""
    return Signer(algorithm, kid, GENERATE[algorithm]())


def secret_signer(secret: bytes = SECRET) -> Signer:
    """Give a signer with a shared secret."""
    return Signer("HS256", "", secret)


def encoded(part: object) -> str:
    """Encode bytes, text, or what becomes JSON, in base64url."""
    if isinstance(part, str):
        part = part.encode()
    if not isinstance(part, bytes):
        part = json.dumps(part).encode()
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def forge(
    header: dict[str, Any] | bytes | str = b"",
    claims: dict[str, Any] | bytes | str = b"",
    by: Signer | None = None,
    signature: bytes | Callable[[bytes], bytes] | None = None,
) -> str:
    """Make a JWT that is genuine save for what is given.

    Args:
        header: members besides or instead of the usual ones, or all of it as it shall be read.
        claims: likewise; a member can be `LEFT_OUT`.
        by: signs it.
        signature: to take instead, or how to make it of the message.
    """
    by = by or signer()
    usual_header = {"alg": by.algorithm, "kid": by.kid, "typ": "JWT"}
    if not by.kid:
        del usual_header["kid"]
    usual_claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": NOW,
        "exp": NOW + 600,
    }
    parts = [_changed(usual_header, header), _changed(usual_claims, claims)]
    message = ".".join(encoded(part) for part in parts)
    if signature is None:
        signature = by.sign
    if callable(signature):
        signature = signature(message.encode())
    return f"{message}.{encoded(signature)}"


def _changed(usual: dict[str, Any], changes: dict[str, Any] | bytes | str) -> object:
    if not isinstance(changes, dict):
        return changes or usual
    merged = {**usual, **changes}
    return {name: value for name, value in merged.items() if value is not LEFT_OUT}


class JwksServer(AbstractContextManager["JwksServer"]):
    """Publishes a JWK Set on a socket of this machine, well or badly.

    Attributes:
        keys: what it publishes.
        body: what it sends instead.
        status: what it answers with.
        headers: what it sends besides.
        fetches: how often it was asked.
        asked: set as soon as it is asked.
        go_on: it answers once this is set, as it is unless cleared, with what it published when
            it was asked.
    """

    def __init__(self, *keys: dict[str, Any], tls: ssl.SSLContext | None = None) -> None:
        self.keys = list(keys)
        self.body: bytes | None = None
        self.status = 200
        self.headers: dict[str, str] = {}
        self.fetches = 0
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._server = _QuietServer(("127.0.0.1", 0), _handler(self))
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/keys.json"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "JwksServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


class _QuietServer(ThreadingHTTPServer):
    # Each answer is sent by the end of the test.
    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: callers hang up on bad answers, as they should."""


def _handler(server: JwksServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.fetches += 1
            body = server.body
            keys = json.dumps({"keys": server.keys}).encode()
            server.asked.set()
            server.go_on.wait(DEADLINE)
            self.send_response(server.status)
            content = keys if body is None else body
            # Otherwise the end of a TLS connection without its own end would be an attacker's.
            self.send_header("Content-Length", str(len(content)))
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_its_jwts_are_genuine_by_another_reading(algorithm: str) -> None:
    """PyJWT, in full, believes what is forged with nothing changed."""
    key = jwt.PyJWK(signer(algorithm).jwk)
    token = forge(by=signer(algorithm))
    claims = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=AUDIENCE,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == "user-1"


def test_it_publishes_its_keys_and_counts_the_fetches() -> None:
    with JwksServer(signer().jwk) as server:
        assert httpx.get(server.url, trust_env=False).json() == {"keys": [signer().jwk]}
        assert server.fetches == 1
