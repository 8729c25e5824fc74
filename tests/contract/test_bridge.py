"""The bridge to Flask, and the private parts of Connexion that it uses, which upgrades may move."""

import asyncio
import inspect
import threading
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
from connexion.options import SwaggerUIOptions
from connexion.security import AbstractSecurityHandler
from support.serving import Caller

from app.contract.bridge import WsgiBridge, build_eagerly, install_bridge
from app.contract.connexion_app import MIDDLEWARES, serve_contract
from app.contract.document import Contract, Handlers
from app.sandbox.standin.server import StandIn

NO_UI = SwaggerUIOptions(serve_spec=False, swagger_ui=False)


def request(app: Any, *bodies: bytes, method: str = "POST") -> list[dict[str, Any]]:
    """Send one request in pieces and return the messages of its response."""
    sent: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": body, "more_body": body is not bodies[-1]}
        for body in bodies
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/a",
        "root_path": "",
        "query_string": b"q=1",
        "headers": [(b"host", b"x"), (b"content-length", b"%d" % len(b"".join(bodies)))],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.fixture
def bridge_to() -> Any:
    """Return a function that bridges to a WSGI application."""
    opened: list[WsgiBridge] = []

    def bridge(wsgi: Callable[..., Any], threads: int = 1, read_threads: int = 1) -> WsgiBridge:
        opened.append(WsgiBridge(wsgi, threads, read_threads))
        return opened[-1]

    yield bridge
    for one in opened:
        one.close()


def test_request_and_response_arrive_complete(bridge_to: Any) -> None:
    closed: list[bool] = []

    class Pieces(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def wsgi(environ: Any, start_response: Any) -> Any:
        assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"]) == ("POST", "q=1")
        start_response("201 Created", [("X-Name", "\u00fc"), ("X-Name", "b")])
        return Pieces([environ["wsgi.input"].read(), b"!"])

    start, body = request(bridge_to(wsgi), b"ab", b"cd")
    assert start["status"] == 201
    assert start["headers"] == [(b"x-name", b"\xfc"), (b"x-name", b"b")]
    assert body == {"type": "http.response.body", "body": b"abcd!"}
    assert closed == [True]


def test_errors_are_raised_in_the_event_loop(bridge_to: Any) -> None:
    """There, one place turns all of them into responses."""

    def wsgi(_environ: Any, _start_response: Any) -> Any:
        raise LookupError

    with pytest.raises(LookupError):
        request(bridge_to(wsgi), b"")


def test_requests_run_at_once_in_as_many_threads_as_given(bridge_to: Any) -> None:
    together = threading.Barrier(2, timeout=10)
    names: list[str] = []

    def wsgi(_environ: Any, start_response: Any) -> Any:
        together.wait()
        names.append(threading.current_thread().name)
        start_response("200 OK", [])
        return []

    bridge = bridge_to(wsgi, 2)
    others = threading.Thread(target=request, args=(bridge, b""))
    others.start()
    request(bridge, b"")
    others.join(10)
    assert {name.partition("_")[0] for name in names} == {"request"}
    assert len(set(names)) == 2


def test_read_does_not_wait_while_all_other_threads_do(bridge_to: Any) -> None:
    """It has threads of its own."""
    began, go_on = threading.Event(), threading.Event()

    def wsgi(environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "POST":
            began.set()
            assert go_on.wait(10)
        start_response("200 OK", [])
        return []

    bridge = bridge_to(wsgi)
    waiting = threading.Thread(target=request, args=(bridge, b""))
    waiting.start()
    assert began.wait(10)
    start, _ = request(bridge, b"", method="GET")
    assert start["status"] == 200
    assert waiting.is_alive()
    go_on.set()
    waiting.join(10)


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


def test_loop_runs_while_the_bridge_waits_for_its_last_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After SIGHUP the same event loop serves the next generation."""
    closing, go_on = threading.Event(), threading.Event()
    results = []

    def close(_bridge: WsgiBridge) -> None:
        closing.set()
        results.append(go_on.wait(3.0))

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[dict[str, Any]]:
        yield {}

    async def start_and_stop() -> None:
        events = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> Any:
            return {"type": next(events)}

        async def send(_message: Any) -> None:
            pass

        scope: Any = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        running = asyncio.create_task(app(scope, receive, send))
        assert await asyncio.to_thread(closing.wait, 3.0)
        go_on.set()
        await running

    monkeypatch.setattr(WsgiBridge, "close", close)
    contract = Contract.shipped("swagger.yaml")
    app = serve_contract(contract, Handlers("app.handlers"), lifespan, threads=1, read_threads=1)
    asyncio.run(start_and_stop())
    assert results == [True]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users//swagger.json",
        "/v1//users/ui/",
        "/v1/users//user/current/stripe_info",
        "//v1/users/user/current/stripe_info",
    ],
)
def test_path_with_two_slashes_is_not_found(caller: Caller, path: str) -> None:
    """Flask would merge them, and call the function of an operation whose checks have not run."""
    response = caller.http.post(f"{caller.http.base_url}".rstrip("/") + path, json={})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
