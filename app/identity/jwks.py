"""Where an issuer's keys come from: a URL, a JWK Set that an operator gave, or a shared secret."""

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from app.errors import ConfigurationError
from app.http_client import HttpClient, NoResponse
from app.identity.keys import Keys, read_jwk_set, read_secret
from app.strict_json import InvalidJson, Json, parse

# In seconds, for all exchanges of a fetch together. Users wait for it, and public providers answer
# in tenths of a second.
FETCH_TIMEOUT = 3.0
# In bytes. The largest sets of public providers, with certificates in them, have some 20 KiB.
LARGEST_DOCUMENT = 256 * 1024
# To a new path, to one with a slash at its end, and one to spare.
MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = {"Accept": "application/json"}
LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class KeySource:
    """Where the keys of a registration come from: one of the three; the others are None."""

    jwks_url: str | None = None
    jwks: Json = None
    shared_secret: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.jwks_url or ("JWK Set" if self.shared_secret is None else "shared secret")

    def read(self, issuer: str) -> Keys:
        """Read or fetch an issuer's keys; a fetch blocks for `FETCH_TIMEOUT` at most.

        Raises:
            ConfigurationError: They cannot be read.
        """
        if self.jwks_url is not None:
            return fetch(self.jwks_url, issuer)
        if self.shared_secret is not None:
            return read_secret(self.shared_secret)
        return read_jwk_set(self.jwks)

    def check(self, issuer: str) -> Keys:
        """Read the keys and check that one of them can be used.

        Raises:
            ConfigurationError: They cannot be read, or none of them can be used.
        """
        keys = self.read(issuer)
        if not keys.usable:
            reasons = "; ".join(map(str, keys.passed_over)) or "it is empty"
            raise ConfigurationError(f"No key of the JWK Set can be used: {reasons}")
        return keys


def fetch(url: str, issuer: str) -> Keys:
    """Fetch a JWK Set from its URL, or from where an OpenID Connect discovery document says.

    Raises:
        ConfigurationError: It cannot be fetched or is not a JWK Set, or the discovery document is
            another issuer's (OpenID Connect Discovery 1.0, section 4.3).
    """
    http = HttpClient(0, largest_body=LARGEST_DOCUMENT, gzip=True)
    with http.within(FETCH_TIMEOUT):
        document = _get(http, url)
        if isinstance(document, dict) and "jwks_uri" in document and "keys" not in document:
            if document.get("issuer") != issuer:
                raise ConfigurationError("The discovery document's issuer is not the one given")
            document = _get(http, str(document["jwks_uri"]))
    return read_jwk_set(document)


def check_url(url: str) -> None:
    """Check that keys may be fetched from a URL: by https, or by http from this machine.

    Raises:
        ConfigurationError: They may not. The message does not repeat the URL.
    """
    try:
        parts = urlsplit(url)
        is_secure = parts.scheme == "https" or (
            parts.scheme == "http" and LOOPBACK.fullmatch(parts.hostname or "")
        )
        is_plain = parts.hostname and parts.port != 0 and parts.username is None and "#" not in url
    except ValueError:
        is_plain = False
    if not is_plain or not re.fullmatch(r"[\x21-\x7e]{1,2000}", url):
        raise ConfigurationError("The JWK Set's URL is not a URL of a host, a path and no more")
    if not is_secure:
        raise ConfigurationError("The JWK Set's URL must be https, except on this machine")


def _get(http: HttpClient, url: str) -> Json:
    """Fetch JSON; redirects are followed to the same host, and never from https to http."""
    for _ in range(MOST_REDIRECTS + 1):
        check_url(url)
        try:
            body, status, headers = http.request("GET", url, HEADERS)
        except NoResponse as failure:
            raise ConfigurationError(f"The JWK Set cannot be fetched: {failure}") from None
        if status not in REDIRECTS:
            break
        before, url = urlsplit(url), urljoin(url, headers.get("Location", ""))
        after = urlsplit(url)
        if (before.scheme, before.hostname) != (after.scheme, after.hostname):
            raise ConfigurationError("The JWK Set's URL redirects to another host")
    if status != 200:
        raise ConfigurationError(f"The JWK Set's URL answers with status {status}")
    try:
        return parse(body.removeprefix(BYTE_ORDER_MARK))
    except InvalidJson as error:
        raise ConfigurationError(f"The JWK Set {error}") from None
