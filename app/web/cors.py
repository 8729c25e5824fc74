"""Pages of other origins that may call the API from a browser.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Container, Mapping

from starlette.datastructures import MutableHeaders

from app.web.problems import Answer

# What a page may send besides what browsers let every page send.
SENT = "Authorization, Content-Type, Prefer, X-Request-Id"
# What a page may read besides what browsers let every page read.
READ = "Retry-After, WWW-Authenticate, X-Request-Id"
# How long a browser may go on without asking again, in seconds: the longest that Chromium takes.
REMEMBERED = 7200
# Tells what pages may send; that the one which asks may, `allow` adds.
PREFLIGHT = Answer(
    200,
    "",
    {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": SENT,
        "Access-Control-Max-Age": str(REMEMBERED),
    },
    b"",
)


class Loopback(Container[str]):
    """All origins of this machine's loopback, as pages under development have."""

    _FORM = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")

    def __contains__(self, origin: object) -> bool:
        return bool(self._FORM.fullmatch(str(origin)))


def is_preflight(method: str, headers: Mapping[bytes, bytes], origins: Container[str]) -> bool:
    """Tell whether a browser asks if a page of these origins may send a request."""
    return (
        method == "OPTIONS"
        and b"access-control-request-method" in headers
        and headers.get(b"origin", b"").decode("latin-1") in origins
    )


def allow(origin: str, origins: Container[str], headers: MutableHeaders) -> None:
    """Put on an answer that the page which asked may read it, if it may.

    Args:
        origin: of the page, as the browser tells it.
        origins: whose pages may.
        headers: of the answer.
    """
    headers.add_vary_header("Origin")
    if origin in origins:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = READ
