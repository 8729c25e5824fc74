"""The service over a real socket, and a caller."""

import asyncio
import contextlib
import threading
import time
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from app.config import Settings
from app.identity import registry
from app.identity.jwks import KeySource
from app.service import create_app
from app.storage.database import Database
from app.web import sockets
from app.web.server import Server, config_for

PATH = "/v1/users/user/current/stripe_info"
USER_PATH = "/v1/users/user/current"
AUDIENCE = "https://api.coord.co"
DEADLINE = 20.0


class Service(contextlib.AbstractContextManager["Service"]):
    """The service in a thread of its own, with a real server and a real socket."""

    def __init__(self, settings: Settings, **more: Any) -> None:
        self._started = threading.Event()
        config = config_for(create_app(settings, **more), settings)
        self._server = Server(config, self._started.set)
        self._thread = threading.Thread(target=self._run)
        self.url = ""

    def __enter__(self) -> "Service":
        self._sockets = sockets.bind_tcp("127.0.0.1", 0)
        self._thread.start()
        assert self._started.wait(DEADLINE)
        assert self._server.started, "the service did not start"
        self.url = sockets.shown(self._sockets)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        # The loop that `coord-users serve` has: what it leaves to the garbage collector differs.
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            try:
                runner.run(self._server.serve(self._sockets))
            finally:
                self._started.set()


class Partner:
    """A partner, registered as an operator would, that signs its users' JWTs."""

    def __init__(self, database: Database, name: str = "Acme", *, is_test: bool = False) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.issuer = f"https://{name.lower()}.example/"
        public = OKPAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        jwks = {"keys": [{**public, "kid": "k1", "alg": "EdDSA", "use": "sig"}]}
        registry.add_registration(
            database, name, self.issuer, [AUDIENCE], KeySource(jwks=jwks), is_test=is_test
        )
        self.access_key = registry.create_access_key(database, name)

    def jwt(self, subject: str = "user-1", **claims: Any) -> str:
        """Sign a JWT; a claim given as None is left out."""
        now = int(time.time())
        all_claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + 600,
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in all_claims.items() if value is not None},
            self._private,
            algorithm="EdDSA",
            headers={"kid": "k1"},
        )


class Caller(contextlib.AbstractContextManager["Caller"]):
    """Calls the API as a partner's app does."""

    def __init__(self, url: str, partner: Partner) -> None:
        self.partner = partner
        self.http = httpx.Client(base_url=url, timeout=DEADLINE, trust_env=False)

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def save(self, token: str, subject: str = "user-1", **claims: Any) -> httpx.Response:
        """Save a card for a user."""
        return self.post({"coord_targeted_token": token}, jwt=self.partner.jwt(subject, **claims))

    def get_user(
        self,
        subject: str = "user-1",
        *,
        method: str = "GET",
        jwt: str | None = None,
        access_key: str | None = None,
        params: dict[str, str] | None = None,
        **claims: Any,
    ) -> httpx.Response:
        """Read a user, with valid credentials unless others are given."""
        return self.http.request(
            method,
            USER_PATH,
            params={"access_key": access_key or self.partner.access_key, **(params or {})},
            headers={"Authorization": f"Bearer {jwt or self.partner.jwt(subject, **claims)}"},
        )

    def post(
        self, body: Any, *, jwt: str | None = None, access_key: str | None = None, **options: Any
    ) -> httpx.Response:
        """Send any body, with valid credentials unless others are given."""
        headers = {"Authorization": f"Bearer {jwt or self.partner.jwt()}"}
        headers.update(options.pop("headers", {}))
        return self.http.post(
            PATH,
            params={"access_key": access_key or self.partner.access_key},
            headers=headers,
            json=body,
            **options,
        )
