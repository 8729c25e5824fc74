"""The bridge to Flask."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import flask
import pytest
from connexion.options import SwaggerUIOptions
from support.serving import Caller
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app.contract.bridge import DirectViews, WsgiBridge
from app.contract.connexion_app import serve_contract
from app.contract.document import Contract, Handlers

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


def test_view_of_an_operation_has_flasks_context_and_handlers_of_errors() -> None:
    """Though Flask neither routes the request nor runs what else it has for each."""
    app = flask.Flask("app")
    started: list[object] = []

    @app.errorhandler(LookupError)
    def handle(_error: LookupError) -> tuple[str, int]:
        return f"{flask.request.method} failed", 418

    def view() -> dict[str, Any]:
        if flask.request.args["q"] == "2":
            raise LookupError
        return {"path": flask.request.path, "name": flask.current_app.name}

    with flask.request_started.connected_to(lambda *_, **__: started.append(1), app):
        called = DirectViews(app, {"act": view})
        assert respond(called, "act", "q=1") == ("200 OK", b'{"name":"app","path":"/a"}\n')
        assert respond(called, "act", "q=2") == ("418 I'M A TEAPOT", b"POST failed")
        assert not started
        # What is not an operation is Flask's.
        status, _ = respond(called, None, "q=1")
        assert status == "404 NOT FOUND"
        assert started


def test_hooks_of_flask_run_where_there_are_some() -> None:
    app = flask.Flask("app")
    app.add_url_rule("/a", view_func=lambda: "by Flask", endpoint="act", methods=["POST"])
    app.before_request(lambda: None)
    called = DirectViews(app, {"act": lambda: "directly"})
    assert respond(called, "act", "q=1") == ("200 OK", b"by Flask")


def respond(wsgi: Any, operation_id: str | None, query: str) -> tuple[str, bytes]:
    """Send one request that Connexion has routed, and return the status and the body."""
    extensions = {"connexion_routing": {"operation_id": operation_id}}
    environ = EnvironBuilder(path="/a", query_string=query, method="POST").get_environ()
    environ["asgi.scope"] = {"extensions": extensions}
    pieces, status, _ = run_wsgi_app(wsgi, environ)
    return status, b"".join(pieces)
