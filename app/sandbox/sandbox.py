"""The sandbox: the whole service on this machine, with a stand-in for Stripe and a demo partner."""

import contextlib
import dataclasses
import json
import os
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm

from app.config import Settings
from app.contract.explorer import Prefilled
from app.identity import registry
from app.sandbox.standin.server import StandIn
from app.service import create_app
from app.storage.database import Database
from app.web import server
from app.web.cors import Loopback

PARTNER = "Demo Mobility"
ISSUER = "https://demo-mobility.example/"
AUDIENCE = "https://api.coord.co"
# It lets the stand-in in, and nothing else.
SECRET_KEY = "sk_test_sandbox"  # noqa: S105 - secret to nobody
# How long the printed JWTs are valid, in seconds.
JWT_LIFETIME = 12 * 3600


class Sandbox:
    """A context manager; everything it makes is gone when it ends, unless it shall be kept.

    Args:
        port: of the service; 0 takes a free one.
        keep: the folder where users and the stand-in's customers survive until the next time.

    Raises:
        ConfigurationError: the port is taken.
    """

    def __init__(self, port: int, keep: Path | None = None) -> None:
        self._cleanup = contextlib.ExitStack()
        folder = keep or Path(self._cleanup.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        self._socket = self._cleanup.enter_context(server.listen(port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        state_file = folder.resolve() / "stand-in.json" if keep else None
        self._standin = self._cleanup.enter_context(StandIn(state_file=state_file))
        self._settings = settings = dataclasses.replace(
            Settings.from_environ({**os.environ, "TRUSTED_PROXIES": ""}),
            database_url=f"sqlite:///{folder.resolve()}/sandbox.db",
            stripe_secret_key=SECRET_KEY,
            stripe_api_base=self._standin.url,
            # So that whoever works on a page can call from it.
            cors_origins=Loopback(),
        )
        self.access_key, sign = _demo_partner(settings)
        self.user_jwt = sign({"sub": "demo-user", "email": "demo.user@demo-mobility.example"})
        self.test_jwt = sign({"sub": "test-user", "is_test_user": True})
        an_hour_ago = int(time.time()) - 3600
        self.expired_jwt = sign({"sub": "demo-user", "iat": an_hour_ago - 60, "exp": an_hour_ago})
        prefilled = Prefilled(self.access_key, self.user_jwt, self.new_token)
        self._app = create_app(settings, prefilled)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def new_token(self) -> str:
        """Make a card token, good for one use."""
        return self._standin.new_token()

    def introduction(self) -> str:
        """Tell what there is to try, as printed at the start."""
        token = self.new_token()
        return textwrap.dedent(
            f"""\
            Coord Users API, sandbox. Stripe is a stand-in on this machine; Ctrl-C ends it all.

            Explorer     {self.url}/v1/users/ui/
            Access key   {self.access_key}
            User JWT     {self.user_jwt}
            Test JWT     {self.test_jwt}
            Expired JWT  {self.expired_jwt}
            Fresh token  {token}
            Stand-in     {self._standin.url} (key {SECRET_KEY})
            Database     {self._settings.database_url}

            Turn the token into a Stripe customer:

            curl -sS '{self.url}/v1/users/user/current/stripe_info?access_key={self.access_key}' \\
              -H 'Authorization: Bearer {self.user_jwt}' \\
              -H 'Content-Type: application/json' \\
              -d '{{"coord_targeted_token": "{token}"}}'
            """
        )

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until the process is told to stop, by Ctrl-C or SIGTERM.

        Args:
            ready: called once requests are taken.
        """
        server.run(self._app, self._settings, self._socket, ready)


def _demo_partner(settings: Settings) -> tuple[str, Callable[[dict[str, object]], str]]:
    """Register a partner with a key pair of its own, as a real one would be."""
    private = generate_private_key(SECP256R1())
    public = json.loads(ECAlgorithm.to_jwk(private.public_key()))
    database = Database(settings.database_url)
    database.migrate()
    registry.add_issuer(
        database.engine,
        PARTNER,
        ISSUER,
        AUDIENCE,
        jwks={"keys": [{**public, "kid": "demo", "alg": "ES256", "use": "sig"}]},
    )
    access_key = registry.create_access_key(database.engine, PARTNER)
    database.close()

    def sign(claims: dict[str, object]) -> str:
        now = int(time.time())
        registered = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + JWT_LIFETIME}
        return jwt.encode(
            {**registered, **claims}, private, algorithm="ES256", headers={"kid": "demo"}
        )

    return access_key, sign
