"""The contract served: Connexion routes by it, checks by it, calls the functions it names."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from connexion import FlaskApp, Resolver
from connexion.middleware.context import ContextMiddleware
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.security import SecurityMiddleware
from connexion.options import SwaggerUIOptions

from app.contract.bridge import ExactRouting, build_eagerly, install_bridge
from app.contract.document import Contract
from app.contract.explorer import Prefilled, explorer
from app.contract.validation import RequestValidation, ResponseValidation

# No handling of errors here, as it would be a second place, and no explorer: ours is newer.
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
    validate_responses: bool = True,
    prefilled: Prefilled | None = None,
) -> FlaskApp:
    """Build the application that answers what the contract says, and its explorer.

    Args:
        contract: which paths there are, and what is checked.
        resolver: finds the function of each operationId.
        lifespan: what runs beside the requests, and the state that security functions look into.
        threads: as many as requests are let in at once.
        validate_responses: whether answers are held against the contract as well.
        prefilled: what the explorer fills in.

    Raises:
        ConfigurationError: an operationId has no function, or the document is not valid.
    """

    @asynccontextmanager
    async def whole(app: object) -> AsyncIterator[dict[str, Any]]:
        async with lifespan(app) as state:
            yield state
            bridge.close()

    app = FlaskApp(
        "app",
        lifespan=whole,
        middlewares=list(MIDDLEWARES),
        validate_responses=validate_responses,
        swagger_ui_options=SwaggerUIOptions(serve_spec=False, swagger_ui=False),
    )
    bridge = install_bridge(app, threads)
    app.add_api(contract.routed(), resolver=resolver)
    app.app.register_blueprint(explorer(contract, prefilled))
    build_eagerly(app)
    return app
