"""What Stripe does with all requests alike: rate limits, idempotency keys, headers."""

import secrets
import time
from typing import Any

import flask

from app.sandbox.standin.account import Account
from app.sandbox.standin.keys import Kept
from app.sandbox.standin.problems import StripeProblem

# The version of the API whose document the stand-in is held against.
VERSION = "2026-05-27.dahlia"
KEY = "Idempotency-Key"
# Kept with an answer to an idempotency key.
REPEATED = ("Stripe-Should-Retry",)


def id_headers(version: str | None, status: int) -> dict[str, str]:
    """Return the headers that name a request; to a 401, Stripe sends none of them."""
    if status == 401:
        return {}
    return {
        "Request-Id": f"req_standin_{secrets.token_hex(7)}",
        "Stripe-Version": version or VERSION,
    }


class HeadersAndKeys:
    """Installs it on the Flask application.

    Args:
        delay: seconds that each request takes.
    """

    def __init__(self, account: Account, delay: float) -> None:
        self._account = account
        self._delay = delay

    def install(self, app: flask.Flask) -> None:
        """Add the hooks."""
        app.before_request(self._begin)
        app.after_request(self._end)
        app.register_error_handler(StripeProblem, self._refuse)

    def _begin(self) -> Any:
        """Let a request in, or answer it from its idempotency key."""
        time.sleep(self._delay)
        request = flask.request
        flask.g.headers = id_headers(request.headers.get("Stripe-Version"), 200)
        rule = request.url_rule.rule if request.url_rule else request.path
        self._account.limiter.admit(f"{request.method} {rule}")
        key = request.headers.get(KEY)
        if request.method != "POST" or not key:
            return None
        content = request.full_path + request.get_data(as_text=True)
        kept = self._account.keys.begin(key, content)
        if kept is None:
            flask.g.key, flask.g.content = key, content
            return None
        replayed = {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
        return flask.jsonify(kept.body), kept.status, {**kept.headers, **replayed}

    def _end(self, response: flask.Response) -> flask.Response:
        """Name the request in its answer, and keep the answer under its key."""
        headers = flask.g.headers
        key = flask.request.headers.get(KEY)
        if flask.request.method == "POST" and key:
            headers = {KEY: key, "Original-Request": headers["Request-Id"], **headers}
            if response.status_code == 200:
                # As in most recorded answers to a POST that was executed.
                headers["Stripe-Should-Retry"] = "false"
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if "key" in flask.g:
            kept = {name: response.headers[name] for name in REPEATED if name in response.headers}
            answer = Kept(
                response.status_code, response.json or {}, kept, response.headers["Request-Id"]
            )
            self._account.keys.end(flask.g.key, flask.g.content, answer)
        return response

    def _refuse(self, problem: StripeProblem) -> Any:
        body = problem.body(flask.g.headers["Request-Id"], self._account.clock())
        return flask.jsonify(body), problem.status, problem.headers
