"""Pages of other origins that may call the API from a browser.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Container, Mapping, Sequence

from starlette.datastructures import MutableHeaders

from app.web.problems import Response

# What a page may read besides what browsers let every page read.
RESPONSE_HEADERS = "Retry-After, WWW-Authenticate, X-Request-Id"
# How long a browser may cache a preflight, in seconds: the longest that Chromium allows.
PREFLIGHT_MAX_AGE = 7200


class Loopback(Container[str]):
    """All origins on this machine's loopback, as pages under development have."""

    _ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")

    def __contains__(self, origin: object) -> bool:
        return bool(self._ORIGIN.fullmatch(str(origin)))


def preflight(names: Sequence[str]) -> Response:
    """Return the response to preflights; `allow` adds the origin.

    Args:
        names: of headers that a page may send besides those that browsers let every page send.
    """
    headers = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": ", ".join(names),
        "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE),
    }
    return Response(200, "", headers, b"")


def is_preflight(method: str, headers: Mapping[bytes, bytes], origins: Container[str]) -> bool:
    """Return whether a request is a preflight from a page of one of the origins."""
    return (
        method == "OPTIONS"
        and b"access-control-request-method" in headers
        and headers.get(b"origin", b"").decode("latin-1") in origins
    )


def allow(origin: str, origins: Container[str], headers: MutableHeaders) -> None:
    """Let the page that sent a request read the response, if its origin is allowed.

    Args:
        origin: of the page, as the browser sends it.
        origins: those allowed.
        headers: of the response.
    """
    headers.add_vary_header("Origin")
    if origin in origins:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = RESPONSE_HEADERS
