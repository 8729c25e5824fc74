"""The body of a request: read as a whole, within bounds, before any work begins."""

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope

from app.errors import PayloadTooLarge, RequestTimeout
from app.web.head import Headers, check_is_http

MAX_BYTES = 16 * 1024
# How long a caller may take to send its body, in seconds.
BODY_SECONDS = 10.0
# Digits of a length that is surely too large: `int` takes long for thousands of them.
MAX_LENGTH_DIGITS = 10


async def read_body(scope: Scope, receive: Receive, headers: Headers) -> bytes:
    """Return the body of a request, and state its length in the head.

    Raises:
        PayloadTooLarge: it is larger than any that the contract allows, or is announced to be.
        RequestTimeout: it does not arrive in time, or the caller hangs up.
        InvalidRequest: what arrives is not HTTP.
    """
    length = headers.get(b"content-length", b"0")
    if len(length) > MAX_LENGTH_DIGITS or int(length) > MAX_BYTES:
        raise PayloadTooLarge
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read(scope, receive)
    except TimeoutError:
        raise RequestTimeout from None
    if b"transfer-encoding" in headers or headers.get(b"content-length") != b"%d" % len(body):
        # Flask ignores a body without a length, as chunked ones are.
        whole = MutableHeaders(scope=scope)
        whole["content-length"] = str(len(body))
        del whole["transfer-encoding"]
    return bytes(body)


async def _read(scope: Scope, receive: Receive) -> bytearray:
    body = bytearray()
    is_complete = False
    while not is_complete:
        message = await receive()
        check_is_http(scope)
        if message["type"] == "http.disconnect":
            raise RequestTimeout
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            raise PayloadTooLarge
        is_complete = not message.get("more_body", False)
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that yields the body as one message, then what the server sends."""
    is_replayed = False

    async def receive_again() -> Message:
        nonlocal is_replayed
        if is_replayed:
            return await receive()
        is_replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
