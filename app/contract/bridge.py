"""From Connexion's ASGI to Flask's WSGI; the only file that touches what Connexion keeps private.

Connexion bridges with ten threads, and four trips between thread and loop for each request. Here a
request takes one: the body is there already, so Flask runs in a thread once, and its whole answer
is sent from the loop. `tests/test_bridge.py` fails when an upgrade moves what is used here.
"""

import asyncio
import contextvars
import functools
import io
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
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
from starlette.types import Message, Receive, Scope, Send

from app.errors import ConfigurationError, NotFound
from app.telemetry import trace


class ExactRouting(RoutingMiddleware):  # type: ignore[misc]  # Connexion has no types
    """Connexion's routing without its redirects, which repeat the query and any `Host`."""

    def add_api(self, *args: Any, **options: Any) -> None:
        """Add the operations of a document."""
        super().add_api(*args, **options)
        for router in (self.router, *(mount.app for mount in self.router.routes)):
            router.redirect_slashes = False


JSON = "application/json"

# Connexion inspects the signatures of the security functions anew for each request.
AbstractSecurityHandler._accepts_kwarg = staticmethod(
    functools.cache(AbstractSecurityHandler._accepts_kwarg)
)


class WsgiBridge:
    """An ASGI application that runs a WSGI one in a thread.

    Args:
        wsgi: the WSGI application.
        threads: as many as requests are let in at once, so that none waits for a thread.
    """

    def __init__(self, wsgi: Any, threads: int) -> None:
        self._wsgi = wsgi
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; errors of the WSGI application are raised here.

        Raises:
            CallerIsGone: its caller hung up while it waited for a thread; nothing was begun.
        """
        environ = build_environ(scope, io.BytesIO(await _whole(receive)))  # type: ignore[arg-type]
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        start, body = await loop.run_in_executor(self._pool, context.run, self._run, environ)
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Wait for the threads to end."""
        self._pool.shutdown()

    def _run(self, environ: Any) -> tuple[Message, bytes]:
        trace.current().require_caller()
        start: Message = {"type": "http.response.start"}

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
            start["status"] = int(status[:3])
            start["headers"] = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ]

        pieces: Iterable[bytes] = self._wsgi(environ, start_response)
        try:
            return start, b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()


def install_bridge(app: FlaskApp, threads: int) -> WsgiBridge:
    """Put our bridge in the place of Connexion's; before any path is added."""
    # A path with two slashes would pass by Connexion, and so by all checks, and yet be found here.
    app.app.url_map.merge_slashes = False
    bridge = WsgiBridge(app.app.wsgi_app, threads)
    app._middleware_app.asgi_app = bridge
    return bridge


def build_eagerly(app: FlaskApp) -> None:
    """Build at the start what Connexion builds at the first request, or at each.

    Raises:
        ConfigurationError: an operationId has no function, or the document is not valid.
    """
    middleware = app.middleware
    try:
        middleware.app, middleware.middleware_stack = middleware._build_middleware_stack()
    except (ResolverError, InvalidSpecification) as error:
        raise ConfigurationError(str(error.args[0])) from None
    views = app.app.view_functions
    for name, view in views.items():
        if isinstance(view, FlaskOperation):
            views[name] = _decorate_once(view)


def _decorate_once(operation: FlaskOperation) -> Any:
    """Call an operation's function with what was found out about the request on its way here.

    Connexion decorates the function anew for each request, and reads the request once more for
    parameters and forms. It still does so, though decorated once, for a function that takes more
    than the checks have put into the context, or that gives more than an object.
    """
    function = operation._fn
    names, takes_any = inspect_function_arguments(function)
    arguments = frozenset(names)
    decorator = FlaskDecorator(jsonifier=operation.jsonifier)
    connexions_way = decorator.decorate(function)
    answer = SyncResponseDecorator(framework=FlaskFramework, jsonifier=operation.jsonifier)

    def view(**_path: Any) -> Any:
        # Whatever reaches Flask in another way than by Connexion's routing was not checked.
        scope = flask.request.environ["asgi.scope"]
        if not scope.get("extensions", {}).get(ROUTING_CONTEXT, {}).get("operation_id"):
            raise NotFound
        found = _context.get()
        for returned in found.get("token_info", {}).values():
            found |= returned
        if takes_any or not arguments <= found.keys():
            return connexions_way(FlaskFramework.get_request(uri_parser=decorator.uri_parser))
        told = function(**{name: found[name] for name in arguments})
        if isinstance(told, dict) and _operation.get().produces == [JSON]:
            return flask.Response(json.dumps(told), content_type=JSON)
        return answer.build_framework_response(told)

    return view


async def _whole(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body
