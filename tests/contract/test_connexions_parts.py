"""The private parts of Connexion that are used or replaced, which upgrades may move."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from connexion import FlaskApp, Resolver
from connexion.apps.flask import FlaskOperation
from connexion.context import _context, _operation
from connexion.decorators import FlaskDecorator
from connexion.frameworks.flask import Flask as FlaskFramework
from connexion.middleware.abstract import ROUTING_CONTEXT
from connexion.middleware.routing import RoutingMiddleware
from connexion.options import SwaggerUIOptions
from connexion.security import AbstractSecurityHandler
from connexion.spec import Specification
from support.serving import Caller

from app.contract.bridge import ExactRouting, build_eagerly, install_bridge
from app.contract.connexion_app import MIDDLEWARES
from app.contract.document import Contract, Handlers
from app.sandbox.standin.server import StandIn

NO_UI = SwaggerUIOptions(serve_spec=False, swagger_ui=False)


@pytest.fixture
def connexion_app() -> FlaskApp:
    """Return the service's contract on an unchanged Connexion."""
    app = FlaskApp("app", swagger_ui_options=NO_UI)
    app.add_api(Contract.shipped("swagger.yaml").document, resolver=Handlers("app.handlers"))
    return app


def test_connexion_has_what_is_used_of_it(connexion_app: FlaskApp) -> None:
    """When an upgrade of Connexion moves it, `app.contract.bridge` must be changed."""
    assert hasattr(connexion_app._middleware_app, "asgi_app")
    app, stack = connexion_app.middleware._build_middleware_stack()
    assert app is not None
    assert stack
    operation = next(
        view
        for view in connexion_app.app.view_functions.values()
        if isinstance(view, FlaskOperation)
    )
    assert callable(operation._fn)
    assert hasattr(operation, "jsonifier")
    decorator = FlaskDecorator(jsonifier=operation.jsonifier)
    assert hasattr(FlaskDecorator, "uri_parser")
    assert callable(decorator.decorate(operation._fn))
    assert callable(FlaskFramework.get_request)
    assert callable(AbstractSecurityHandler._accepts_kwarg)
    assert isinstance(_context, ContextVar)
    assert isinstance(_operation, ContextVar)


def test_connexions_own_parts_are_replaced(connexion_app: FlaskApp) -> None:
    bridge = install_bridge(connexion_app, 3, 3)
    build_eagerly(connexion_app)
    assert connexion_app._middleware_app.asgi_app is bridge
    assert connexion_app.middleware.app is not None
    views = connexion_app.app.view_functions.values()
    assert not any(isinstance(view, FlaskOperation) for view in views)
    bridge.close()


def test_operation_is_decorated_once(
    caller: Caller, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connexion decorates it for each request, which costs more than the request."""

    def decorate(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(FlaskDecorator, "decorate", decorate)
    assert caller.save(standin.new_token()).status_code == 200


def test_signatures_of_security_functions_are_inspected_once(
    caller: Caller, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connexion inspects their signatures for each request."""
    assert caller.save(standin.new_token()).status_code == 200

    def signature(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(inspect, "signature", signature)
    assert caller.save(standin.new_token()).status_code == 200


@pytest.mark.parametrize("root_path", ["", "/prefix"])
@pytest.mark.parametrize(("method", "place"), [("GET", ""), ("HEAD", ""), ("POST", "/stripe_info")])
def test_operation_is_found_as_connexion_finds_it(method: str, place: str, root_path: str) -> None:
    """But without Starlette's routers, unless a proxy's prefix goes before its path."""
    contract = Contract.shipped("swagger.yaml")
    specification = Specification.load(contract.routed())
    path = f"{root_path}{contract.base_path}/user/current{place}"
    found = []
    for kind in (ExactRouting, RoutingMiddleware):
        reached: list[Any] = []

        async def app(scope: Any, _receive: Any, _send: Any, reached: list[Any] = reached) -> None:
            reached.append(scope)

        routing = kind(app)
        routing.add_api(specification, resolver=Handlers("app.handlers"))
        if kind is ExactRouting and not root_path:
            routing.router = None
        scope = {"type": "http", "method": method, "path": path, "root_path": root_path}
        asyncio.run(routing(scope, None, None))
        found.append([(it["extensions"], it["path_params"]) for it in reached])
    assert found[0] == found[1]
    assert found[0][0][0][ROUTING_CONTEXT]["operation_id"]


DOCUMENT = {
    "swagger": "2.0",
    "info": {"title": "t", "version": "1"},
    "consumes": ["application/json"],
    "produces": ["application/json"],
    "paths": {
        "/things/{name}": {
            "post": {
                "operationId": "act",
                "parameters": [
                    {"in": "path", "name": "name", "type": "string", "required": True},
                    {"in": "query", "name": "number", "type": "integer"},
                    {"in": "body", "name": "thing", "schema": {"type": "object"}},
                ],
                "responses": {"200": {"description": "OK"}, "201": {"description": "Made"}},
            }
        }
    },
}


@pytest.mark.parametrize(
    ("act", "status", "expected"),
    [
        (lambda name, number, thing: [name, number, thing], 200, ["a", 7, {"b": 1}]),
        (lambda thing: ({"got": thing}, 201), 201, {"got": {"b": 1}}),
        (lambda thing: {"got": thing}, 200, {"got": {"b": 1}}),
        (lambda **all_of_it: sorted(all_of_it), 200, ["name", "number", "thing"]),
    ],
)
def test_function_gets_the_arguments_that_it_takes(
    act: Callable[..., Any], status: int, expected: Any
) -> None:
    """Path and query parameters are converted to their types, by Connexion's own decorator."""

    class Here(Resolver):
        def resolve_function_from_operation_id(self, _operation_id: str) -> Callable[..., Any]:
            return act

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        yield

    app = FlaskApp(
        "app", lifespan=lifespan, middlewares=list(MIDDLEWARES), swagger_ui_options=NO_UI
    )
    app.add_api(DOCUMENT, resolver=Here(), validate_responses=False)
    bridge = install_bridge(app, 1, 1)
    build_eagerly(app)
    try:
        with app.test_client() as client:
            response = client.post("/things/a?number=7", json={"b": 1})
    finally:
        bridge.close()
    assert (response.status_code, response.json()) == (status, expected)
