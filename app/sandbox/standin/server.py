"""The stand-in, served by Connexion from its own contract, on this machine only."""

import asyncio
import ipaddress
import threading
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import flask
import structlog
import uvicorn
from connexion import FlaskApp
from connexion.exceptions import ProblemException
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from connexion.options import SwaggerUIOptions
from starlette.exceptions import HTTPException

from app.contract.bridge import build_eagerly, install_bridge
from app.contract.document import Contract, Handlers
from app.errors import ConfigurationError
from app.sandbox.standin.account import Account
from app.sandbox.standin.cards import GOOD_NUMBER
from app.sandbox.standin.headers import HeadersAndKeys, id_headers
from app.sandbox.standin.limits import Limits
from app.sandbox.standin.problems import StripeProblem
from app.web.server import Server

log = structlog.get_logger()

# Requests that are worked on at once: more than any test or sandbox has in flight.
THREADS = 200
# How long it may take to start and to stop, in seconds.
PATIENCE = 10.0


def create_standin(account: Account, delay: float = 0.0) -> Any:
    """Build the stand-in as an ASGI application.

    Args:
        delay: seconds that each call takes, as Stripe's do.
    """
    app = FlaskApp(
        "app.sandbox.standin", swagger_ui_options=SwaggerUIOptions(False, swagger_ui=False)
    )
    app.add_api(
        Contract.shipped("stripe-standin.yaml").document,
        resolver=Handlers("app.sandbox.standin.handlers"),
    )
    app.add_error_handler(Exception, _outside_of_flask)
    app.add_error_handler(HTTPException, _outside_of_flask)
    app.add_error_handler(ProblemException, _outside_of_flask)
    app.app.extensions["account"] = account
    HeadersAndKeys(account, delay).install(app.app)
    install_bridge(app, THREADS, THREADS)
    build_eagerly(app)
    return app


class StandIn(AbstractContextManager["StandIn"]):
    """The stand-in in a thread of its own.

    Args:
        port: where it listens; 0 takes a free one.
        host: an address of this machine's loopback.
        state_file: where its state survives a restart; nowhere if None.
        delay: seconds that each call takes.

    Raises:
        ConfigurationError: the host is not this machine.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        state_file: Path | None = None,
        delay: float = 0.0,
        limits: Limits | None = None,
    ) -> None:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ConfigurationError("The stand-in for Stripe listens on this machine only")
        self.account = Account(state_file, limits)
        config = uvicorn.Config(
            create_standin(self.account, delay),
            host=host,
            port=port,
            access_log=False,
            log_config=None,
            server_header=False,
            headers=[("Server", "Stripe-Stand-In")],
            workers=1,
            timeout_graceful_shutdown=1,
        )
        self._ready = threading.Event()
        self._server = Server(config, self._ready.set)
        self._thread = threading.Thread(target=self._serve, name="stand-in", daemon=True)
        self.url = ""

    def __enter__(self) -> "StandIn":
        self._thread.start()
        self._ready.wait(PATIENCE)
        if not self._server.started:
            raise ConfigurationError("The stand-in for Stripe did not start")
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        log.info("stand-in for Stripe listens", url=self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        # Where it cannot listen, uvicorn logs why, and `__enter__` tells.
        with suppress(ConfigurationError):
            asyncio.run(self._server.serve())
        self._ready.set()

    def new_token(self, number: str = GOOD_NUMBER) -> str:
        """Make a card token for one use."""
        return str(self.account.tokens.create({"card[number]": number}, None)["id"])

    def new_payment_method(self, number: str = GOOD_NUMBER) -> str:
        """Make a PaymentMethod that is attached to no customer, as a partner's clone is."""
        params = {"type": "card", "card[number]": number}
        return str(self.account.payment_methods.create(params, None)["id"])


def _outside_of_flask(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    """Answer in Stripe's form what never reaches Flask: keys, and what breaks the contract."""
    if not isinstance(error, StripeProblem):
        status = getattr(error, "status_code", 500)
        message = "Unrecognized request." if status == 404 else "The request is not valid."
        error = StripeProblem(status if status < 500 else 500, message)
    headers = id_headers(request.headers.get("Stripe-Version"), error.status)
    return ConnexionResponse(
        status_code=error.status,
        content_type="application/json",
        body=flask.json.dumps(error.body(headers.get("Request-Id", ""), time.time())),
        headers=headers,
    )
