"""What of the Stripe SDK is set up for this service; the only file that uses private parts of it.

The SDK sends its requests through our HTTP client, which keeps connections. What it would do for
each request, and the service does not use, is left out: a twelfth of all instructions of a save.
`tests/stripe_account/test_sdk_client.py` fails when an upgrade of the SDK moves what is used here.
"""

import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote_plus

import stripe
from stripe import _api_requestor, _util
from stripe._api_requestor import _APIRequestor

from app.http_client import HttpClient, NoResponse

# What each byte of a form's names and values becomes.
QUOTED = [quote_plus(bytes([byte])) for byte in range(256)]


class SdkClient(stripe.HTTPClient):
    """Adapter from the SDK's HTTP client to ours.

    Args:
        client: sends the requests; its `within` sets the deadline.
    """

    name = "coord-users"

    def __init__(self, client: HttpClient) -> None:
        super().__init__()
        self._client = client

    def request_with_retries(  # type: ignore[override]  # the rest is for retries and telemetry
        self, method: str, url: str, headers: Any, post_data: Any = None, **_unused: object
    ) -> tuple[bytes, int, Any]:
        """Send one request, once: `app.customers` decides when to call again.

        Raises:
            stripe.APIConnectionError: no complete response arrived in time.
        """
        try:
            return self._client.request(method.upper(), url, headers, post_data)
        except NoResponse as failure:
            raise stripe.APIConnectionError(str(failure)) from failure  # type: ignore[no-untyped-call]


def make_quiet() -> None:
    """Have the SDK log nothing, measure nothing, and not look for what called it."""
    # It logs the bodies that it sends at DEBUG, card tokens included. The level keeps the lines out
    # of the log, but each would still be formatted, five for each call.
    logging.getLogger("stripe").setLevel(logging.WARNING)
    _util.logfmt = _no_line
    # It would send the durations of calls, and keeps an id of the machine in a file in HOME.
    stripe.enable_telemetry = False
    # Variables of the environment by which it recognises an AI agent, to name it to Stripe.
    _APIRequestor.AI_AGENTS = []
    # Python's own quotes a text that has a bracket, as each name of metadata has, byte by byte: a
    # twentieth of all instructions of a save.
    _api_requestor.urlencode = form  # type: ignore[attr-defined, assignment]


def form(fields: Iterable[tuple[str, object]]) -> str:
    """Return fields as a form's body: what `urllib.parse.urlencode` returns, sooner."""
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in fields])


def _quoted(value: object) -> str:
    return str(value).encode().decode("latin-1").translate(QUOTED)


def _no_line(_fields: object) -> str:
    return ""
