"""The contract as an application: Connexion routes, checks and calls the functions by it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from anyio import to_thread
from connexion import FlaskApp, Resolver
from connexion.middleware.context import ContextMiddleware
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.security import SecurityMiddleware
from connexion.options import SwaggerUIOptions

from app.contract.bridge import DirectViews, ExactRouting, build_eagerly, install_bridge
from app.contract.document import Contract
from app.contract.explorer import Prefilled, explorer
from app.contract.validation import RequestValidation, ResponseValidation

# Errors become responses in `app.web.problems` alone, and the explorer's Swagger UI is newer than
# Connexion's: its middlewares for both are left out.
MIDDLEWARES = [
    ExactRouting,
    SecurityMiddleware,
    RequestValidation,
    ResponseValidation,
    LifespanMiddleware,
    ContextMiddleware,
]

Lifespan = Callable[[object], AbstractAsyncContextManager[dict[str, Any]]]


def serve_contract(
    contract: Contract,
    resolver: Resolver,
    lifespan: Lifespan,
    *,
    threads: int,
    read_threads: int,
    validate_responses: bool = True,
    prefilled: Prefilled | None = None,
) -> FlaskApp:
    """Build the application that serves the contract's operations, the document and the explorer.

    Args:
        contract: the operations and their checks.
        resolver: finds the function of each operationId.
        lifespan: runs beside the requests; its state is passed to the security functions.
        threads: as for `app.contract.bridge.WsgiBridge`.
        read_threads: as for `app.contract.bridge.WsgiBridge`.
        validate_responses: whether responses are checked against the contract as well.
        prefilled: what the explorer fills in.

    Raises:
        ConfigurationError: an operationId has no function, or the document is not valid.
    """

    @asynccontextmanager
    async def lifespan_and_bridge(app: object) -> AsyncIterator[dict[str, Any]]:
        async with lifespan(app) as state:
            yield state
            # In a thread: a request may outlast its time while the loop serves a new generation.
            await to_thread.run_sync(bridge.close)

    app = FlaskApp(
        "app",
        lifespan=lifespan_and_bridge,
        middlewares=list(MIDDLEWARES),
        validate_responses=validate_responses,
        swagger_ui_options=SwaggerUIOptions(serve_spec=False, swagger_ui=False),
    )
    bridge = install_bridge(app, threads, read_threads)
    app.add_api(contract.routed(), resolver=resolver)
    app.app.register_blueprint(explorer(contract, prefilled))
    bridge.wsgi = DirectViews(app.app, build_eagerly(app))
    return app
