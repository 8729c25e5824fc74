"""A stand-in for partners' issuers: it signs JWTs, forges them, and publishes its keys."""

import json
import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    **dict.fromkeys(
        ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        lambda: rsa.generate_private_key(65537, 2048),
    ),
}
PUBLIC_ALGORITHMS = sorted(GENERATE)


class Clock:
    """Stands still until it is set, in seconds."""

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
        """Both halves, as no issuer should publish them."""
        return dict(ALGORITHMS[self.algorithm].to_jwk(self.private, as_dict=True))

    def sign(self, message: bytes, algorithm: str | None = None) -> bytes:
        """Sign, with another algorithm than the key's own if need be."""
        return ALGORITHMS[algorithm or self.algorithm].sign(message, self.private)


@cache
def signer(algorithm: str = "RS256", kid: str = "key-1") -> Signer:
    """Return the same key pair each time."""
    return Signer(algorithm, kid, GENERATE[algorithm]())


def secret_signer(secret: bytes = SECRET) -> Signer:
    """Return a signer with a shared secret."""
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
    """Make a JWT that is genuine except for what is given.

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
    """Publishes a JWK Set on a socket of this machine, in order or not.

    Attributes:
        keys: what it publishes.
        body: what it sends instead.
        status: the status of its answers.
        headers: further headers of its answers.
        answers: by path, what it sends instead: status, headers, body.
        interim: what it sends before, such as an interim response.
        fetches: how many requests came.
        asked: set as soon as a request came.
        go_on: it answers once this is set, as it is unless cleared, with what it published when
            the request came.
    """

    def __init__(self, *keys: dict[str, Any], tls: ssl.SSLContext | None = None) -> None:
        self.keys = list(keys)
        self.body: bytes | None = None
        self.status = 200
        self.headers: dict[str, str] = {}
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.interim = b""
        self.fetches = 0
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._server = _QuietServer(("127.0.0.1", 0), _handler(self))
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if tls else "http"
        self.base = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.base}/keys.json"
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
    # In the default queue, of 5, a crowd of connections waits for a second.
    request_queue_size = 100

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: callers hang up on bad answers, as they should."""


def _handler(server: JwksServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.fetches += 1
            body = server.body
            keys = json.dumps({"keys": server.keys}).encode()
            server.asked.set()
            server.go_on.wait(DEADLINE)
            usual = (server.status, server.headers, keys if body is None else body)
            status, headers, sent = server.answers.get(self.path, usual)
            self.wfile.write(server.interim)
            self.send_response(status)
            # Otherwise the end of a TLS connection without its own end would be an attacker's.
            self.send_header("Content-Length", str(len(sent)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
