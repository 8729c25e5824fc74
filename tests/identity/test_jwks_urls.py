"""From where keys may be fetched."""

import pytest
from support.issuer import ISSUER

from app.errors import ConfigurationError
from app.identity.jwks import check_url, fetch


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/.well-known/jwks.json",
        "https://issuer.example:8443/keys?version=1",
        "https://[2001:db8::1]/keys",
        "http://localhost:8080/keys",
        "http://127.0.0.1/keys",
        "http://127.8.9.10/keys",
        "http://[::1]:1/keys",
    ],
)
def test_keys_may_be_fetched_by_https_or_from_this_machine(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://issuer.example/keys", "must be https"),
        ("http://localhost.example/keys", "must be https"),
        ("http://127.0.0.1.example/keys", "must be https"),
        ("http://10.0.0.1/keys", "must be https"),
        ("http://0.0.0.0/keys", "must be https"),
        ("ftp://localhost/keys", "must be https"),
        ("file:///etc/passwd", "host, a path and no more"),
        ("https://", "host, a path and no more"),
        ("https:///keys", "host, a path and no more"),
        ("https://user:password@issuer.example/keys", "host, a path and no more"),
        ("https://@issuer.example/keys", "host, a path and no more"),
        ("https://issuer.example:0/keys", "host, a path and no more"),
        ("https://issuer.example/keys#one", "host, a path and no more"),
        ("https://issuer.example/keys#", "host, a path and no more"),
        ("https://issuer.example:99999/keys", "host, a path and no more"),
        ("https://issuer.example:x/keys", "host, a path and no more"),
        ("https://[::1/keys", "host, a path and no more"),
        ("https://issuer.example/ke ys", "host, a path and no more"),
        ("https://issuer.example/keys\n", "host, a path and no more"),
        ("https://bücher.example/keys", "host, a path and no more"),
        ("https://issuer.example/" + "k" * 2000, "host, a path and no more"),
        ("", "host, a path and no more"),
    ],
)
def test_keys_are_not_fetched_from_elsewhere(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_url(url)
    with pytest.raises(ConfigurationError, match=words):
        fetch(url, ISSUER)
