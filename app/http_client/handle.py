"""One libcurl handle: sends a request, and returns the final response or the reason for none."""

import math
import os
import select
from collections.abc import Mapping

import pycurl

from app.http_client.errors import NoResponse
from app.http_client.fields import Fields, final_fields, request_lines

# Resolving, connecting and TLS take well below 1 s together. A host that needs longer is out of
# reach, and the caller may have time left for another attempt.
CONNECT_SECONDS = 5.0
# Options of libcurl that pycurl has no names for; see include/curl/curl.h.
SUPPRESS_CONNECT_HEADERS, UPLOAD_BUFFERSIZE, QUICK_EXIT = 265, 280, 322
OPTIONS: Mapping[int, int | str] = {
    # Instead of the versions of all that libcurl is built of.
    pycurl.USERAGENT: "coord-users",
    pycurl.CONNECTTIMEOUT_MS: int(CONNECT_SECONDS * 1000),
    # Otherwise libcurl times out by a signal, which is for single-threaded programs.
    pycurl.NOSIGNAL: 1,
    # Do not wait for the end of a look-up that has timed out: name servers can take minutes.
    QUICK_EXIT: 1,
    # HTTP/2 shares a connection among exchanges; here each has its own.
    pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
    pycurl.MAXCONNECTS: 1,
    # In bytes, the least that libcurl allows: a form has a few hundred. By default it is 64 KiB,
    # which each request keeps while it waits for Stripe.
    UPLOAD_BUFFERSIZE: 16 * 1024,
    pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
    pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
    # The credentials are for the host that the caller names.
    pycurl.FOLLOWLOCATION: 0,
    # A proxy's own response is not part of the server's.
    SUPPRESS_CONNECT_HEADERS: 1,
    # An identifier may be "..".
    pycurl.PATH_AS_IS: 1,
}
# Errors whose text is passed on. Texts of others may quote a proxy's URL with its password.
EXPLAINED = frozenset(
    {
        pycurl.E_UNSUPPORTED_PROTOCOL,
        pycurl.E_COULDNT_RESOLVE_HOST,
        pycurl.E_FTP_WEIRD_SERVER_REPLY,
        pycurl.E_PARTIAL_FILE,
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_GOT_NOTHING,
        pycurl.E_SEND_ERROR,
        pycurl.E_RECV_ERROR,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CACERT_BADFILE,
    }
)


class Handle:
    """A libcurl handle with the one connection that it keeps, for one thread at a time.

    https://curl.se/libcurl/c/threadsafe.html

    Args:
        options: of libcurl, besides `OPTIONS`.
        largest_body: a response with a longer body is not taken, in bytes.
    """

    def __init__(self, options: Mapping[int, int | str | None], largest_body: int) -> None:
        self.idle_since = 0.0
        self._curl = pycurl.Curl()
        for option, value in (*OPTIONS.items(), *options.items()):
            self._curl.setopt(option, value)
        self._head: list[bytes] = []
        self._body = _Body(largest_body)
        self._curl.setopt(pycurl.HEADERFUNCTION, self._head.append)
        self._curl.setopt(pycurl.WRITEFUNCTION, self._body.take)

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: str | None, seconds: float
    ) -> tuple[bytes, int, Fields]:
        """Send a request and return the body, status and header fields of its final response.

        Args:
            method: as it is sent.
            url: of http or https, in ASCII.
            headers: besides those that belong to the connection.
            body: of form fields, unless the headers name another type.
            seconds: more than 0, for everything from resolving to the last byte.

        Raises:
            NoResponse: no complete response arrived in time.
        """
        curl = self._curl
        if body is None:
            curl.setopt(pycurl.HTTPGET, 1)
        else:
            curl.setopt(pycurl.POSTFIELDS, body.encode())
        curl.setopt(pycurl.CUSTOMREQUEST, method)
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.HTTPHEADER, request_lines(headers))
        # Rounded up, as 0 stands for no limit.
        curl.setopt(pycurl.TIMEOUT_MS, math.ceil(seconds * 1000))
        try:
            curl.perform()
            fields = final_fields(self._head)
            return b"".join(self._body.pieces), curl.getinfo(pycurl.RESPONSE_CODE), fields
        except pycurl.error as error:
            was_sent = curl.getinfo(pycurl.REQUEST_SIZE) > 0
            reason = self._reason(*error.args, was_sent=was_sent)
            raise NoResponse(reason, was_sent=was_sent) from None
        finally:
            self._head.clear()
            self._body.clear()

    def is_quiet(self) -> bool:
        """Return whether nothing has arrived on the idle connection, not even its end.

        What arrives between two exchanges is no response to the next request. libcurl looks for it
        as well, but at most once a second for a handle (lib/conncache.c, `Curl_cpool_prune_dead`).
        """
        descriptor = self._curl.getinfo(pycurl.ACTIVESOCKET)
        if descriptor == -1:
            return True  # the connection is closed already
        poll = select.poll()  # unlike select.select, takes descriptors above 1023
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close the connection."""
        self._curl.close()

    def _reason(self, code: int, text: str, *, was_sent: bool) -> str:
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return f"timed out {self._phase(was_sent)}"
        if code == pycurl.E_WRITE_ERROR:
            return "the response is too large"
        if code == pycurl.E_COULDNT_CONNECT:
            whom = " to the proxy" if " over proxy " in text else ""
            return f"could not connect{whom}: {self._obstacle()}"
        return text if code in EXPLAINED else pycurl.easy_strerror(code)

    def _obstacle(self) -> str:
        if status := self._curl.getinfo(pycurl.HTTP_CONNECTCODE):
            return f"the proxy answers {status}"
        return os.strerror(self._curl.getinfo(pycurl.OS_ERRNO))

    def _phase(self, was_sent: bool) -> str:
        if was_sent:
            return "receiving the response" if self._head else "waiting for the response"
        if not self._curl.getinfo(pycurl.NAMELOOKUP_TIME_T):
            return "resolving the host name"
        if not self._curl.getinfo(pycurl.CONNECT_TIME_T):
            return "connecting"
        return "setting up TLS or a proxy's tunnel"


class _Body:
    """Collects a body up to a length, in bytes."""

    def __init__(self, largest: int) -> None:
        self.pieces: list[bytes] = []
        self._largest = self._left = largest

    def take(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0:
            return 0  # which aborts the transfer
        self.pieces.append(piece)
        return len(piece)

    def clear(self) -> None:
        self.pieces.clear()
        self._left = self._largest
