"""Every exchange with a stand-in, held against Stripe's own document."""

import json
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from support import stripe_document

from app.sandbox.standin import server

create_standin = server.create_standin


def create_watched_standin(*args: Any, **options: Any) -> ASGIApp:
    """Build a stand-in whose requests and answers are watched."""
    return Watched(create_standin(*args, **options))


class Watched:
    """An ASGI application around the stand-in.

    Args:
        app: the stand-in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        url = scope["path"]
        if scope["query_string"]:
            url += "?" + scope["query_string"].decode()
        sent, answered = bytearray(), bytearray()
        status = 0

        async def receiving() -> Message:
            message = await receive()
            sent.extend(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answered.extend(message.get("body", b""))
            is_whole = message["type"] == "http.response.body" and not message.get("more_body")
            if is_whole:
                stripe_document.watch(scope["method"], url, sent.decode())
                body = json.loads(answered)
                stripe_document.watch_answer(scope["method"], url, status, body)
            await send(message)

        await self._app(scope, receiving, sending)
