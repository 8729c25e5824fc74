"""The head of a request: what every request must have, whatever it asks for."""

from collections.abc import Mapping

from starlette.types import Scope

from app.errors import InvalidRequest, MethodNotAllowed, UnsupportedMediaType

MAX_FIELDS = 100
# Of two of these, the next program on the way may use the other one (RFC 9112, section 11.2).
SINGLE_FIELDS = (b"host", b"authorization", b"content-type", b"transfer-encoding")
# Codings of a body that leave it as it is (RFC 9110, section 12.5.3).
UNENCODED = (b"identity", b"")

# The fields of a request, as bytes: by name in lower case.
Headers = Mapping[bytes, bytes]


def headers_of(scope: Scope) -> Headers:
    """Return the fields of a request; of a repeated one, the first counts."""
    return dict(reversed(scope["headers"]))


def check_head(scope: Scope, headers: Headers) -> None:
    """Check that all programs on the way read the head in the same way.

    Raises:
        InvalidRequest: they may not, or it is not HTTP.
        UnsupportedMediaType: the body is encoded, or its type is not ASCII.
    """
    check_is_http(scope)
    fields = scope["headers"]
    names = [name for name, _ in fields]
    if len(names) > MAX_FIELDS:
        raise InvalidRequest(f"The request has more than {MAX_FIELDS} header fields.")
    for name in SINGLE_FIELDS:
        if names.count(name) > 1:
            raise InvalidRequest(f"The header `{name.decode().title()}` is given more than once.")
    if b"host" not in names and scope["http_version"] == "1.1":
        raise InvalidRequest("The header `Host` is missing.")
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise InvalidRequest("The header `Transfer-Encoding` is not `chunked`.")
    codings = [value.lower() for name, value in fields if name == b"content-encoding"]
    if not all(coding in UNENCODED for coding in codings):
        raise UnsupportedMediaType
    if not headers.get(b"content-type", b"").isascii():
        raise UnsupportedMediaType


def check_is_http(scope: Scope) -> None:
    """Check that the server could read the request; see `app.web.protocol`.

    Raises:
        InvalidRequest: it could not.
    """
    if "refused" in scope:
        raise InvalidRequest(scope["refused"])


def check_is_read(method: str) -> None:
    """Check that a request only reads.

    Raises:
        MethodNotAllowed: its method is neither GET nor HEAD.
    """
    if method not in ("GET", "HEAD"):
        raise MethodNotAllowed("GET, HEAD")
