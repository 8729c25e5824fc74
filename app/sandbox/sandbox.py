"""The sandbox: the service, a stand-in for Stripe and a demo partner, all on this machine."""

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from app.config import Settings
from app.contract.explorer import Prefilled
from app.errors import ConfigurationError
from app.identity import registry
from app.identity.jwks import KeySource
from app.sandbox.issuer import AUDIENCE, ISSUER, USER, DemoIssuer
from app.sandbox.standin.limits import Limits
from app.sandbox.standin.server import StandIn
from app.service import create_app
from app.storage.database import Database
from app.web import sockets
from app.web.cors import Loopback
from app.web.worker import Worker

PARTNER = "Demo Mobility"
# Only the stand-in accepts it.
SECRET_KEY = "sk_test_sandbox"  # noqa: S105 - not a secret
# Which token or PaymentMethod evokes which answer, as printed at the start.
ANSWERS = (
    ("200", "the fresh token and the fresh PaymentMethod, each once"),
    ("200", "tok_visa, tok_mastercard, tok_amex, any number of times"),
    ("200 after 30 s", "tok_standin_slow"),
    ("402 card_declined", "tok_chargeDeclined, tok_chargeDeclinedInsufficientFunds"),
    ("402 expired_card", "tok_chargeDeclinedExpiredCard"),
    ("402 incorrect_cvc", "tok_chargeDeclinedIncorrectCvc"),
    ("402 processing_error", "tok_chargeDeclinedProcessingError"),
    ("402 incorrect_zip", "tok_standin_incorrectZip (a code that the contract does not list)"),
    ("422 resource_missing", "any unknown one, such as tok_unknown"),
    ("422 livemode_mismatch", "tok_standin_liveMode"),
    ("422 token_odd", "tok_standin_odd (a code that the contract does not list)"),
    ("500 internal", "tok_standin_forbidden; sent again, 200"),
    ("503 stripe_unavailable", "tok_standin_unavailable, tok_standin_inUse; sent again, 200"),
)


class Sandbox:
    """A context manager; everything it creates is deleted when it ends, unless kept.

    Args:
        port: of the service; 0 takes a free one.
        keep: the folder in which users and the stand-in's customers survive a restart.
        stripe_limits: Stripe's rate limits, which the stand-in plays; none if None.

    Raises:
        ConfigurationError: the port is taken.
    """

    def __init__(
        self, port: int, keep: Path | None = None, stripe_limits: Limits | None = None
    ) -> None:
        # Where the start fails, what has started by then is stopped again.
        with contextlib.ExitStack() as cleanup:
            folder = (keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            self._sockets = sockets.bind_tcp("127.0.0.1", port)
            for sock in self._sockets:
                cleanup.enter_context(sock)
            self.url = sockets.shown(self._sockets)
            state_file = folder / "stand-in.json" if keep else None
            self._standin = cleanup.enter_context(
                StandIn(state_file=state_file, limits=stripe_limits)
            )
            self._issuer = cleanup.enter_context(DemoIssuer())
            self._settings = dataclasses.replace(
                Settings.from_environ({**os.environ, "TRUSTED_PROXIES": ""}),
                database_url=f"sqlite:///{folder}/sandbox.db",
                stripe_secret_key=SECRET_KEY,
                stripe_api_base=self._standin.url,
                # Pages under development on this machine may call it.
                cors_origins=Loopback(),
            )
            self.access_key = _register_partner(self._settings, self._issuer)
            sign = self._issuer.sign
            self.user_jwt = sign(dict(USER))
            self.test_jwt = sign({"sub": "test-user", "is_test_user": True})
            an_hour_ago = int(time.time()) - 3600
            expired = {"sub": "demo-user", "iat": an_hour_ago - 60, "exp": an_hour_ago}
            self.expired_jwt = sign(expired)
            prefilled = Prefilled(
                self.access_key, self.user_jwt, self.new_token, self._standin.new_payment_method
            )
            self._app = create_app(self._settings, prefilled)
            self._cleanup = cleanup.pop_all()

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
        """Create a card token for one use."""
        return self._standin.new_token()

    def introduction(self) -> str:
        """Return what the command prints at the start: addresses, credentials, lines to paste."""
        token = self.new_token()
        lines = [
            "Coord Users API, sandbox. Stripe is a stand-in on this machine; Ctrl-C ends it all.",
            "",
            f"Explorer             {self.url}/v1/users/ui/",
            f"Access key           {self.access_key}",
            f"User JWT             {self.user_jwt}",
            f"Test JWT             {self.test_jwt}",
            f"Expired JWT          {self.expired_jwt}",
            f"Fresh token          {token}",
            f"Fresh PaymentMethod  {self._standin.new_payment_method()}",
            f"Stand-in             {self._standin.url} (key {SECRET_KEY})",
            f"Issuer               {self._issuer.url}/jwks.json (POST /rotate: a new key and JWT)",
            f"Database             {self._settings.database_url}",
            "",
            "The answer depends on `coord_targeted_token`:",
            "",
            *(f"{answer:<22}  {tokens}" for answer, tokens in ANSWERS),
            "",
            "Turn the fresh token into a Stripe customer:",
            "",
            self._curl(
                "/user/current/stripe_info",
                "-H 'Content-Type: application/json'",
                f"""-d '{{"coord_targeted_token": "{token}"}}'""",
            ),
            "",
            "Read the user, with the customer's id:",
            "",
            self._curl("/user/current"),
            "",
        ]
        return "\n".join(lines)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until Ctrl-C or SIGTERM."""
        Worker(lambda: self._app, self._sockets, lambda _facts: ready(), is_reloadable=False).run()

    def _curl(self, path: str, *options: str) -> str:
        words = (
            f"curl -sS '{self.url}/v1/users{path}?access_key={self.access_key}'",
            f"-H 'Authorization: Bearer {self.user_jwt}'",
            *options,
        )
        return " \\\n  ".join(words)


def _register_partner(settings: Settings, issuer: DemoIssuer) -> str:
    """Register the demo partner, whose issuer publishes its keys; return a new access key."""
    database = Database(settings.database_url)
    database.migrate()
    source = KeySource(jwks_url=f"{issuer.url}/jwks.json")
    try:
        registry.add_registration(database, PARTNER, ISSUER, [AUDIENCE], source)
    except ConfigurationError:
        # The folder was kept, but the issuer has another port each time.
        registry.update_registration(database, PARTNER, ISSUER, source=source)
    access_key = registry.create_access_key(database, PARTNER)
    database.close()
    return access_key
