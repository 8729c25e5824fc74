"""The HTTP client that the Stripe SDK sends its requests through: ours, which keeps connections."""

from typing import Any

import stripe

from app.http_client import HttpClient, NoResponse


class SdkClient(stripe.HTTPClient):
    """Adapter from the SDK's HTTP client to ours.

    Args:
        client: sends the requests; its `within` sets the deadline.
    """

    name = "coord-users"

    def __init__(self, client: HttpClient) -> None:
        super().__init__()
        self._client = client

    def request(  # type: ignore[override]  # the SDK's `_usage` is for its telemetry
        self, method: str, url: str, headers: Any, post_data: Any = None
    ) -> tuple[bytes, int, Any]:
        """Send one request, once.

        Raises:
            stripe.APIConnectionError: no complete response arrived in time.
        """
        try:
            return self._client.request(method.upper(), url, headers, post_data)
        except NoResponse as failure:
            raise stripe.APIConnectionError(str(failure)) from failure  # type: ignore[no-untyped-call]
