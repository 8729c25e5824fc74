"""The stand-in, served: by Connexion from its own contract, on this machine only."""

import asyncio
import ipaddress
import secrets
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
from app.sandbox.standin.account import Account, StripeProblem
from app.web.server import Server

log = structlog.get_logger()

THREADS = 200
# How long it may take to start and to stop, in seconds.
PATIENCE = 10.0


def create_standin(*, state_file: Path | None = None, delay: float = 0.0) -> Any:
    """Build the stand-in as an ASGI application.

    Args:
        state_file: where its state survives a restart; nowhere if None.
        delay: seconds that each call takes, as Stripe's do.
    """
    app = FlaskApp(
        "app.sandbox.standin", swagger_ui_options=SwaggerUIOptions(False, swagger_ui=False)
    )
    app.add_api(
        Contract.shipped("stripe-standin.yaml").document,
        resolver=Handlers("app.sandbox.standin.handlers"),
    )
    app.add_error_handler(Exception, _told)
    app.add_error_handler(HTTPException, _told)
    app.add_error_handler(ProblemException, _told)
    app.app.extensions["account"] = account = Account(state_file)
    _keep_answers(app.app, account, delay)
    install_bridge(app, THREADS, THREADS)
    build_eagerly(app)
    return app


class StandIn(AbstractContextManager["StandIn"]):
    """The stand-in in a thread of its own.

    Args:
        port: where it listens; 0 takes a free one.
        host: an address of this machine's loopback.
        state_file, delay: as for `create_standin`.

    Raises:
        ConfigurationError: the host is not this machine.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        state_file: Path | None = None,
        delay: float = 0.0,
    ) -> None:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ConfigurationError("The stand-in for Stripe listens on this machine only")
        self._app = create_standin(state_file=state_file, delay=delay)
        config = uvicorn.Config(
            self._app,
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
        # So uvicorn ends where it cannot listen, after it has logged why.
        with suppress(SystemExit):
            asyncio.run(self._server.serve())
        self._ready.set()

    def new_token(self, number: str = "4242424242424242") -> str:
        """Make a token for one use, of a good card unless another number is given."""
        account: Account = self._app.app.extensions["account"]
        return str(account.create_token({"card[number]": number}, None)["id"])


def _keep_answers(app: flask.Flask, account: Account, delay: float) -> None:
    """Put on all POSTs what Stripe does with idempotency keys."""

    @app.before_request
    def begin() -> Any:
        time.sleep(delay)
        key = flask.request.headers.get("Idempotency-Key")
        if flask.request.method != "POST" or not key:
            return None
        request = flask.request.full_path + flask.request.get_data(as_text=True)
        if (kept := account.begin(key, request)) is None:
            flask.g.key, flask.g.request = key, request
            return None
        status, body = kept
        return flask.jsonify(body), status, {"Idempotent-Replayed": "true"}

    @app.after_request
    def end(response: flask.Response) -> flask.Response:
        if "key" in flask.g:
            account.end(flask.g.key, flask.g.request, response.status_code, response.json or {})
        response.headers["Request-Id"] = f"req_standin_{secrets.token_hex(7)}"
        return response

    @app.errorhandler(StripeProblem)
    def refuse(problem: StripeProblem) -> Any:
        return flask.jsonify(problem.body), problem.status


def _told(_request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    """Tell in Stripe's form what never got to Flask: keys, and what breaks the contract."""
    if not isinstance(error, StripeProblem):
        status = getattr(error, "status_code", 500)
        message = "Unrecognized request." if status == 404 else "The request is not valid."
        error = StripeProblem(status if status < 500 else 500, message)
    return ConnexionResponse(
        status_code=error.status,
        content_type="application/json",
        body=flask.json.dumps(error.body),
        headers={"Request-Id": f"req_standin_{secrets.token_hex(7)}"},
    )
