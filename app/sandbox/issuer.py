"""The demo partner's issuer: it signs JWTs and publishes its keys, and can replace them."""

import json
import threading
import time
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from jwt.algorithms import ECAlgorithm

ISSUER = "https://demo-mobility.example/"
AUDIENCE = "https://api.coord.co"
# A working day: the printed JWTs need not be replaced while a developer tries things out.
JWT_SECONDS = 12 * 3600
USER = {
    "sub": "demo-user",
    "email": "ada.lovelace@demo-mobility.example",
    "given_name": "Ada",
    "family_name": "Lovelace",
}
# How often the server looks whether it is to stop, in seconds.
POLL_SECONDS = 0.05


class DemoIssuer(AbstractContextManager["DemoIssuer"]):
    """Serves `GET /jwks.json` and `POST /rotate` on a free port of this machine.

    A rotation is done as an issuer should: the key before is published beside the new one, so that
    JWTs that it has signed remain valid. One more rotation withdraws it.
    """

    def __init__(self) -> None:
        self._keys: list[tuple[str, EllipticCurvePrivateKey]] = []
        self._rotations = 0
        self.rotate()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "DemoIssuer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self) -> None:
        """Sign with a new key from now on; publish it and the key before."""
        self._rotations += 1
        new = (f"demo-{self._rotations}", generate_private_key(SECP256R1()))
        self._keys = [new, *self._keys[:1]]

    def sign(self, claims: dict[str, object]) -> str:
        """Sign a JWT with the newest key; claims that are given replace the usual ones."""
        kid, private = self._keys[0]
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + JWT_SECONDS}
        return jwt.encode({**usual, **claims}, private, algorithm="ES256", headers={"kid": kid})

    def jwk_set(self) -> dict[str, object]:
        """Return the JWK Set that it publishes."""
        return {
            "keys": [
                {
                    **ECAlgorithm.to_jwk(private.public_key(), as_dict=True),
                    "kid": kid,
                    "alg": "ES256",
                    "use": "sig",
                }
                for kid, private in self._keys
            ]
        }


def _handler(issuer: DemoIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/jwks.json":
                self._answer(200, json.dumps(issuer.jwk_set()))
            else:
                self._answer(404, "not found")

        def do_POST(self) -> None:
            if self.path == "/rotate":
                issuer.rotate()
                self._answer(200, issuer.sign(dict(USER)) + "\n")
            else:
                self._answer(404, "not found")

        def log_message(self, *_: object) -> None:
            """Keep the terminal for the service's log."""

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
