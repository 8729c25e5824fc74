"""The context of a request."""

import pytest

from app.telemetry import trace

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("traceparent", "is_valid"),
    [
        (f"00-{TRACE_ID}-{PARENT}-01", True),
        (f"00-{TRACE_ID}-{PARENT}-00", True),
        # A later version may append fields, 00 has none.
        (f"01-{TRACE_ID}-{PARENT}-01-more", True),
        (f"00-{TRACE_ID}-{PARENT}-01-more", False),
        (f"01-{TRACE_ID}-{PARENT}-01more", False),
        (f"ff-{TRACE_ID}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE_ID}-{'0' * 16}-01", False),
        (f"00-{TRACE_ID.upper()}-{PARENT}-01", False),
        (f"00-{TRACE_ID[1:]}-{PARENT}-01", False),
        (f"00-{TRACE_ID}-{PARENT}-01\n", False),
        ("tok_visa", False),
        ("", False),
    ],
)
def test_traceparent(traceparent: str, is_valid: bool) -> None:
    """As the W3C's Trace Context says; what is malformed is not logged."""
    assert trace.trace_id_of(traceparent) == (TRACE_ID if is_valid else "")
