"""Requests of the tests."""

import pytest

from app.http_client import HttpClient, NoResponse


def ask(client: HttpClient, url: str, body: str | None = "a=b", seconds: float = 5.0) -> bytes:
    """Send one request and return the body of its response."""
    with client.within(seconds):
        return client.request("POST", url, {"X-Name": "value"}, body)[0]


def failure(client: HttpClient, url: str, seconds: float = 5.0) -> NoResponse:
    """Send one request that gets no response, and return the reason."""
    with pytest.raises(NoResponse) as raised:
        ask(client, url, seconds=seconds)
    return raised.value
