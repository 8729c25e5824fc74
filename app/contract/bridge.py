"""From Connexion's ASGI to Flask's WSGI; the only file that uses private parts of Connexion.

Connexion's own bridge has ten threads and moves four times between thread and event loop for each
request. This one moves once: the body is complete, so Flask runs in a thread without interruption,
and the event loop sends the complete response. `tests/contract/test_connexions_parts.py` fails when
an upgrade of Connexion moves what is used here.
"""

import contextvars
import functools
import io
import json
from collections.abc import Callable, Iterable
from typing import Any

import flask
from a2wsgi.wsgi import build_environ
from connexion import FlaskApp
from connexion.apps.flask import FlaskOperation
from connexion.context import _context, _operation
from connexion.decorators import FlaskDecorator
from connexion.decorators.response import SyncResponseDecorator
from connexion.exceptions import InvalidSpecification, ResolverError
from connexion.frameworks.flask import Flask as FlaskFramework
from connexion.middleware.abstract import ROUTING_CONTEXT
from connexion.middleware.routing import RoutingMiddleware
from connexion.security import AbstractSecurityHandler
from connexion.utils import inspect_function_arguments
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from werkzeug.routing import MapAdapter

from app.contract.document import SAFE_METHODS
from app.contract.threads import Threads
from app.errors import ConfigurationError, NotFound
from app.telemetry import trace

JSON = "application/json"

# By operationId.
Views = dict[str, Callable[[], Any]]


class ExactRouting(RoutingMiddleware):  # type: ignore[misc]  # Connexion has no types
    """Connexion's routing without its redirects, which repeat the query and any `Host`.

    An operation whose path has no parameters is found by method and path at once, without two of
    Starlette's routers and their patterns.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._found: dict[tuple[str, str], dict[str, str]] = {}

    def add_api(self, *args: Any, **options: Any) -> None:
        """Add the operations of a document."""
        super().add_api(*args, **options)
        for router in (self.router, *(mount.app for mount in self.router.routes)):
            router.redirect_slashes = False
        for mount in self.router.routes:
            for route in mount.routes:
                found = {"api_base_path": mount.path, "operation_id": route.endpoint.operation_id}
                if not route.param_convertors:
                    for method in route.methods:
                        self._found[method, mount.path + route.path] = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request."""
        is_direct = scope["type"] == "http" and not scope.get("root_path")
        found = self._found.get((scope["method"], scope["path"])) if is_direct else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        scope["path_params"] = {}
        scope.setdefault("extensions", {})[ROUTING_CONTEXT] = found.copy()
        await self.app(scope, receive, send)


class WsgiBridge:
    """An ASGI application that runs a WSGI application in threads.

    Args:
        wsgi: the WSGI application.
        threads: one for each admitted request, so that none waits for a thread.
        read_threads: the same for safe methods, which are quick while all other threads wait.

    Attributes:
        wsgi: as given; may be replaced before the first request.
    """

    def __init__(self, wsgi: Any, threads: int, read_threads: int) -> None:
        self.wsgi = wsgi
        self._threads: Threads[tuple[Message, bytes]] = Threads(threads, "request")
        self._read_threads: Threads[tuple[Message, bytes]] = Threads(read_threads, "read")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; errors of the WSGI application are raised here.

        Raises:
            CallerIsGone: the caller hung up while the request waited for a thread; nothing ran.
        """
        environ = build_environ(scope, io.BytesIO(await _read_body(receive)))  # type: ignore[arg-type]
        threads = self._read_threads if scope["method"] in SAFE_METHODS else self._threads
        run = functools.partial(contextvars.copy_context().run, self._run, environ)
        start, body = await threads.run(run)
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Wait for the threads to end."""
        self._threads.close()
        self._read_threads.close()

    def _run(self, environ: Any) -> tuple[Message, bytes]:
        trace.current().require_caller()
        start: Message = {"type": "http.response.start"}

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
            start["status"] = int(status[:3])
            start["headers"] = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ]

        pieces: Iterable[bytes] = self.wsgi(environ, start_response)
        try:
            return start, b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()


class DirectViews:
    """A Flask application as WSGI that calls the view of an operation itself.

    What Flask would do besides is for hooks and signals, and to route the request once more. The
    view runs in Flask's context, so `flask.request`, `flask.abort` and handlers of errors work in
    it; `flask.url_for` does not.

    Args:
        app: the Flask application; it handles all that is not an operation, and everything if a
            function is registered to run before or after each request.
        views: of the operations.
    """

    def __init__(self, app: flask.Flask, views: Views) -> None:
        self._app = app
        has_hooks = app.before_request_funcs or app.after_request_funcs
        self._views = {} if has_hooks else views
        self._flasks_adapter = app.create_url_adapter
        app.create_url_adapter = self._url_adapter  # type: ignore[method-assign]

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Handle one request."""
        scope = environ["asgi.scope"]
        view = self._views.get(_operation_id(scope))
        if view is None:
            return self._app.wsgi_app(environ, start_response)
        with self._app.request_context(environ) as context:
            # Flask's routing would have set them; Connexion passes them to the function.
            context.request.view_args = scope.get("path_params", {})
            try:
                returned = view()
            except Exception as error:
                returned = self._app.handle_user_exception(error)
            return self._app.make_response(returned)(environ, start_response)

    def _url_adapter(self, request: flask.Request | None) -> MapAdapter | None:
        """Return what Flask routes a request with; None if Connexion has routed it."""
        scope = {} if request is None else request.environ.get("asgi.scope", {})
        return None if _operation_id(scope) in self._views else self._flasks_adapter(request)


def install_bridge(app: FlaskApp, threads: int, read_threads: int) -> WsgiBridge:
    """Replace Connexion's bridge, before any path is added.

    Args:
        app: the application whose requests go through the bridge.
        threads: as for `WsgiBridge`.
        read_threads: as for `WsgiBridge`.

    Returns:
        The bridge, to be closed after the last request.
    """
    _inspect_signatures_once()
    # Connexion would not find a path with two slashes, so no check would run, but Flask would.
    app.app.url_map.merge_slashes = False
    bridge = WsgiBridge(app.app.wsgi_app, threads, read_threads)
    app._middleware_app.asgi_app = bridge
    return bridge


def build_eagerly(app: FlaskApp) -> Views:
    """Build at the start what Connexion builds at the first request, or for each request.

    Returns:
        The view of each operation.

    Raises:
        ConfigurationError: an operationId has no function, or the document is not valid.
    """
    middleware = app.middleware
    try:
        middleware.app, middleware.middleware_stack = middleware._build_middleware_stack()
    except (ResolverError, InvalidSpecification) as error:
        raise ConfigurationError(str(error.args[0])) from None
    views: Views = {}
    endpoints = app.app.view_functions
    for name, view in endpoints.items():
        if isinstance(view, FlaskOperation):
            endpoints[name] = views[view.operation_id] = _decorate_once(view)
    return views


def _inspect_signatures_once() -> None:
    """Cache the signatures of security functions, which Connexion inspects for each request."""
    inspect = AbstractSecurityHandler._accepts_kwarg
    if not hasattr(inspect, "cache_info"):
        AbstractSecurityHandler._accepts_kwarg = staticmethod(functools.cache(inspect))


def _decorate_once(operation: FlaskOperation) -> Any:
    """Return a view that calls an operation's function with what the checks put into the context.

    Connexion decorates the function for each request, and reads parameters and forms again. Its
    way is used, decorated once, for a function that takes more than the checks have found, or that
    returns more than an object.
    """
    function = operation._fn
    names, takes_any = inspect_function_arguments(function)
    arguments = frozenset(names)
    decorator = FlaskDecorator(jsonifier=operation.jsonifier)
    connexions_way = decorator.decorate(function)
    response = SyncResponseDecorator(framework=FlaskFramework, jsonifier=operation.jsonifier)

    def view(**_path: Any) -> Any:
        # Without Connexion's routing no check has run.
        if not _operation_id(flask.request.environ["asgi.scope"]):
            raise NotFound
        found = _context.get()
        for returned in found.get("token_info", {}).values():
            found |= returned
        if takes_any or not arguments <= found.keys():
            return connexions_way(FlaskFramework.get_request(uri_parser=decorator.uri_parser))
        returned = function(**{name: found[name] for name in arguments})
        if isinstance(returned, dict) and _operation.get().produces == [JSON]:
            return flask.Response(json.dumps(returned), content_type=JSON)
        return response.build_framework_response(returned)

    return view


def _operation_id(scope: Scope) -> str:
    """Return the operation that Connexion's routing has found; empty if it found none."""
    return scope.get("extensions", {}).get(ROUTING_CONTEXT, {}).get("operation_id") or ""


async def _read_body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body
