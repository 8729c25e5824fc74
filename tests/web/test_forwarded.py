"""What trusted proxies may state about a request, and other peers may not."""

from typing import Any

import pytest

from app.config import UNIX
from app.web.forwarded import Proxies, network_of

PROXIES = Proxies(("127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "::ffff:172.16.0.0/108"))


def applied(
    *fields: tuple[str, str], peer: str | None = "127.0.0.1", proxies: Proxies = PROXIES
) -> dict[str, Any]:
    """Return the scope after these headers were applied, and the return value."""
    headers = [(b"host", b"internal:8080")]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    scope: dict[str, Any] = {
        "type": "http",
        "client": (peer, 4711) if peer else None,
        "scheme": "http",
        "root_path": "",
        "path": "/v1/users",
        "raw_path": b"/v1/users",
        "headers": headers,
    }
    client, prefix = proxies.apply(scope)
    return {
        "client": client,
        "prefix": prefix,
        "url": f"{scope['scheme']}://{dict(scope['headers'])[b'host'].decode()}{scope['path']}",
        "scope": scope,
    }


def test_without_headers_the_scope_stays() -> None:
    found = applied()
    assert (found["client"], found["prefix"]) == ("127.0.0.1", "")
    assert found["url"] == "http://internal:8080/v1/users"


ALL = (
    ("X-Forwarded-For", "192.0.2.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "api.example"),
    ("X-Forwarded-Prefix", "/pay"),
    ("Forwarded", "for=192.0.2.7;proto=https;host=api.example"),
)


@pytest.mark.parametrize(
    "peer", ["192.0.2.1", "11.0.0.1", "::1", "2001:db9::1", "::ffff:192.0.2.1", None, "odd"]
)
def test_headers_of_an_untrusted_peer_are_ignored(peer: str | None) -> None:
    """The caller's address is the peer's own."""
    found = applied(*ALL, peer=peer)
    assert found["client"] == (peer or UNIX).removeprefix("::ffff:")
    assert found["prefix"] == ""
    assert found["url"] == "http://internal:8080/v1/users"


@pytest.mark.parametrize(
    "peer",
    ["127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "172.16.1.1"],
)
def test_trusted_peer_in_either_notation(peer: str) -> None:
    """A server that listens at `::` sees an IPv4 peer in IPv6's notation."""
    found = applied(*ALL, peer=peer)
    assert (found["client"], found["prefix"]) == ("192.0.2.7", "/pay")
    assert found["url"] == "https://api.example/pay/v1/users"


def test_peer_by_a_unix_domain_socket() -> None:
    """It has no address; a word stands for it."""
    found = applied(*ALL, peer=None, proxies=Proxies((UNIX,)))
    assert found["client"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("stated", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7:4711"], "192.0.2.7"),
        (["[2001:db9::7]:4711"], "2001:db9::7"),
        (["2001:db9::7"], "2001:db9::7"),
        # The caller's own claims are on the left.
        (["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        (["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
        (["203.0.113.9, 192.0.2.7, 10.0.0.5"], "192.0.2.7"),
        (["10.0.0.4, 10.0.0.5"], "10.0.0.4"),
        (["192.0.2.7, nonsense, 10.0.0.5"], "10.0.0.5"),
        (["nonsense"], "127.0.0.1"),
        (["unknown", ""], "127.0.0.1"),
    ],
)
def test_address_of_the_caller(stated: list[str], client: str) -> None:
    """The last address that is not of a trusted proxy, also if each proxy adds its own header."""
    assert applied(*[("X-Forwarded-For", one) for one in stated])["client"] == client


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ([("Proto", "https")], "https://internal:8080"),
        ([("Proto", "HTTPS")], "https://internal:8080"),
        ([("Proto", "ftp")], "http://internal:8080"),
        ([("Proto", "http, https")], "https://internal:8080"),
        ([("Host", "api.example")], "http://api.example"),
        ([("Host", "users_api:8080")], "http://users_api:8080"),
        ([("Host", "[2001:db8::7]:8080")], "http://[2001:db8::7]:8080"),
        ([("Host", "evil.example"), ("Host", "api.example")], "http://api.example"),
        ([("Host", "api.example/evil")], "http://internal:8080"),
        ([("Host", "a b")], "http://internal:8080"),
        ([("Port", "8443")], "http://internal:8443"),
        ([("Port", "8443"), ("Host", "api.example")], "http://api.example:8443"),
        ([("Port", "8443"), ("Host", "api.example:81")], "http://api.example:8443"),
        ([("Port", "80"), ("Host", "api.example")], "http://api.example"),
        ([("Port", "443"), ("Proto", "https")], "https://internal"),
        # The port of a proxy behind the one that ends TLS.
        ([("Port", "80"), ("Proto", "https"), ("Host", "api.example")], "https://api.example"),
        ([("Port", "0")], "http://internal:8080"),
        ([("Port", "65536")], "http://internal:8080"),
        ([("Port", "1" * 5000)], "http://internal:8080"),
        ([("Port", "x")], "http://internal:8080"),
    ],
)
def test_host_and_scheme_that_the_caller_used(fields: list[tuple[str, str]], url: str) -> None:
    """Invalid values change nothing."""
    stated = [(f"X-Forwarded-{name}", value) for name, value in fields]
    assert applied(*stated)["url"] == url + "/v1/users"


@pytest.mark.parametrize(
    ("stated", "client", "url"),
    [
        ("for=192.0.2.7;proto=https;host=api.example", "192.0.2.7", "https://api.example"),
        ('For="[2001:db9::7]:4711"; Proto=HTTPS', "2001:db9::7", "https://internal:8080"),
        ('host="api.example:8443"', "127.0.0.1", "http://api.example:8443"),
        ('host="api.\\example"', "127.0.0.1", "http://api.example"),
        ("for=_hidden;proto=https", "127.0.0.1", "https://internal:8080"),
        ("for=unknown, for=10.0.0.5", "10.0.0.5", "http://internal:8080"),
        # The outer proxy, which the inner one vouches for, knows what the caller used.
        (
            "for=192.0.2.7;host=api.example;proto=https, for=10.0.0.5;host=inner;proto=http",
            "192.0.2.7",
            "https://api.example",
        ),
        # The caller's own claims are on the left.
        (
            "for=203.0.113.9;host=evil.example, for=192.0.2.7;host=api.example",
            "192.0.2.7",
            "http://api.example",
        ),
        ("nonsense", "127.0.0.1", "http://internal:8080"),
        ("for=192.0.2.7;", "127.0.0.1", "http://internal:8080"),
        ("for=192.0.2.7 proto=https", "127.0.0.1", "http://internal:8080"),
        ('for="192.0.2.7', "127.0.0.1", "http://internal:8080"),
        ("proto=ftp;host=a/b", "127.0.0.1", "http://internal:8080"),
    ],
)
def test_forwarded(stated: str, client: str, url: str) -> None:
    """RFC 7239."""
    found = applied(("Forwarded", stated))
    assert (found["client"], found["url"]) == (client, url + "/v1/users")


def test_forwarded_beside_x_forwarded_is_ignored() -> None:
    """A proxy that sets `X-Forwarded-*` may pass on the caller's own `Forwarded`."""
    found = applied(("Forwarded", "host=evil.example"), ("X-Forwarded-Proto", "https"))
    assert found["url"] == "https://internal:8080/v1/users"


@pytest.mark.parametrize(
    ("stated", "prefix"),
    [
        ("/pay", "/pay"),
        ("/pay/", "/pay"),
        ("/partners/coord-1_a~b.c", "/partners/coord-1_a~b.c"),
        ("/evil, /pay", "/pay"),
        ("/", ""),
        ("", ""),
        ("pay", ""),
        ("//evil.example", ""),
        ("/pay//a", ""),
        ("https://evil.example/", ""),
        ("/a/../b", ""),
        ("/.", ""),
        ("/a b", ""),
        ("/a?b", ""),
        ("/a#b", ""),
        ("/%2e%2e", ""),
        ("/<script>", ""),
        ('/"', ""),
        ("/\xe4", ""),
        ("/a" * 200, ""),
    ],
)
def test_prefix(stated: str, prefix: str) -> None:
    """A prefix that is not a path is ignored; ASGI's path includes the prefix."""
    found = applied(("X-Forwarded-Prefix", stated))
    assert found["prefix"] == found["scope"]["root_path"] == prefix
    assert found["scope"]["path"] == prefix + "/v1/users"
    assert found["scope"]["raw_path"] == prefix.encode() + b"/v1/users"


def test_network_in_the_other_notation() -> None:
    """A network that includes more than IPv4 addresses stays as it is."""
    assert str(network_of("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    assert str(network_of("::/0")) == "::/0"
    with pytest.raises(ValueError, match="host bits"):
        network_of("10.0.0.1/8")
