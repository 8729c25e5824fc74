"""The HTTP client: requests to Stripe and to issuers, over libcurl."""

from app.http_client.errors import NoResponse
from app.http_client.pool import HttpClient

__all__ = ["HttpClient", "NoResponse"]
