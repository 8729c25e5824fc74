"""What trusted proxies state about a request: the caller's address, and how it addressed us.

A proxy that sets one of these headers must remove it from what its own clients send, or set it in
each request; of a header that is given several times, the nearest proxy's value counts.
"""

import functools
import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from app.config import UNIX

# RFC 9110, section 7.2, and `_`, which no DNS name has, but names in Docker's networks do.
HOST = re.compile(
    r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?"
)
# Segments of a path as RFC 3986, section 3.3, has them, without what is quoted in HTML or a list.
PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~!$()*+=:@-]+)+")
MAX_PREFIX = 255
DEFAULT_PORTS = {"http": "80", "https": "443"}
PORT = re.compile(r"[1-9][0-9]{0,4}")
# RFC 7239, section 4: `name=token` or `name="quoted"`, by semicolons, then by commas.
PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*")[ \t]*"""
)
FORWARDED = b"forwarded"
X_FORWARDED = b"x-forwarded-"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Stated(NamedTuple):
    """What a proxy states.

    Attributes:
        client: address of the caller; empty if it is not stated.
        scheme: that the caller used; empty if it is not stated.
        host: that the caller used, with or without port; empty if it is not stated.
    """

    client: str = ""
    scheme: str = ""
    host: str = ""


class Proxies:
    """Applies the headers of trusted proxies to requests.

    Args:
        trusted: their addresses or networks; `unix:` for all callers by a Unix domain socket.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks = [network_of(one) for one in trusted if one != UNIX]
        self._trusts_unix = UNIX in trusted
        # Parsing an address takes longer than all else that is done here for most requests.
        self._trusts = functools.lru_cache(maxsize=1024)(self._is_in_a_network)

    def apply(self, scope: Scope) -> tuple[str, str]:
        """Set scheme, host and path of a request to those that its caller used.

        Returns:
            The caller's address, and the path that the service is found under.
        """
        peer = scope["client"][0] if scope.get("client") else UNIX
        if not (self._trusts_unix if peer == UNIX else self._trusts(peer)):
            return _plain(peer), ""
        fields = [
            (name, value.decode("latin-1"))
            for name, value in scope["headers"]
            if name.startswith((X_FORWARDED, FORWARDED))
        ]
        if not fields:
            return _plain(peer), ""
        stated = self._stated(fields)
        if stated.scheme:
            scope["scheme"] = stated.scheme
        _set_host(scope, stated.host, _last(fields, b"x-forwarded-port"))
        prefix = _set_prefix(scope, _last(fields, b"x-forwarded-prefix"))
        return stated.client or _plain(peer), prefix

    def _stated(self, fields: list[tuple[bytes, str]]) -> Stated:
        """Read `X-Forwarded-*`; without them `Forwarded`, which most proxies pass on unread."""
        clients = _all(fields, b"x-forwarded-for")
        scheme = _last(fields, b"x-forwarded-proto").lower()
        host = _last(fields, b"x-forwarded-host")
        if clients or scheme or host:
            client = ""
            for one in reversed(clients):
                if not (address := _address(one)):
                    break
                client = address
                if not self._trusts(address):
                    break
            return Stated(client, scheme if scheme in DEFAULT_PORTS else "", host)
        return self._forwarded(", ".join(value for name, value in fields if name == FORWARDED))

    def _forwarded(self, text: str) -> Stated:
        """Read `Forwarded` back to the last hop that a trusted proxy vouches for."""
        stated = Stated()
        for element in reversed(_elements(text)):
            scheme = element.get("proto", "").lower()
            stated = Stated(
                _address(element.get("for", "")) or stated.client,
                scheme if scheme in DEFAULT_PORTS else stated.scheme,
                element.get("host", "") or stated.host,
            )
            if not _address(element.get("for", "")) or not self._trusts(stated.client):
                break
        return stated

    def _is_in_a_network(self, peer: str) -> bool:
        address = _parsed(peer)
        return address is not None and any(address in network for network in self._networks)


def network_of(text: str) -> Network:
    """Return an address or network; one of IPv4 in IPv6's notation is the IPv4 one.

    Raises:
        ValueError: it is neither.
    """
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - 96))


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@functools.lru_cache(maxsize=1024)
def _plain(peer: str) -> str:
    return str(_parsed(peer) or peer)


def _address(node: str) -> str:
    """Return the address of a node (RFC 7239, section 6); empty if it has none."""
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    return str(_parsed(node) or "")


def _all(fields: list[tuple[bytes, str]], wanted: bytes) -> list[str]:
    values = ",".join(value for name, value in fields if name == wanted).split(",")
    return [value for value in map(str.strip, values) if value]


def _last(fields: list[tuple[bytes, str]], wanted: bytes) -> str:
    return (_all(fields, wanted) or [""])[-1]


def _elements(text: str) -> list[dict[str, str]]:
    """Split a `Forwarded` header into its hops; none if it is malformed."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while pair := PAIR.match(text, at):
        value = pair[2]
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elements[-1][pair[1].lower()] = value
        at = pair.end()
        if at == len(text):
            return elements
        if text[at] == ",":
            elements.append({})
        elif text[at] != ";":
            break
        at += 1
    return []


def _set_host(scope: Scope, stated: str, port: str) -> None:
    headers = MutableHeaders(scope=scope)
    found = HOST.fullmatch(stated) or HOST.fullmatch(headers.get("host", ""))
    if not found or not (stated or port):
        return
    host = found[0]
    # A proxy behind another that ends TLS often states its own port 80, which https never has.
    others = {value for name, value in DEFAULT_PORTS.items() if name != scope["scheme"]}
    if PORT.fullmatch(port) and int(port) < 2**16 and port not in others:
        is_default = port == DEFAULT_PORTS[scope["scheme"]]
        host = found["name"] if is_default else f"{found['name']}:{port}"
    headers["host"] = host


def _set_prefix(scope: Scope, prefix: str) -> str:
    prefix = prefix.removesuffix("/")
    if len(prefix) > MAX_PREFIX or not PREFIX.fullmatch(prefix):
        return ""
    # ASGI's `path` begins with `root_path`, though the proxy took it off.
    scope["root_path"] = prefix
    scope["path"] = prefix + scope["path"]
    scope["raw_path"] = prefix.encode() + scope["raw_path"]
    return prefix
