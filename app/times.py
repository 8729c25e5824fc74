"""The one form of times in responses and results."""

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Return a time in UTC to the second, as in RFC 3339, section 5.6.

    Args:
        seconds: since the epoch.
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
