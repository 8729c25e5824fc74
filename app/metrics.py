"""What operators watch, in Prometheus's terms. No label ever holds what a caller sent."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

# From a replayed answer to Stripe's bad days, in seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)


class Metrics:
    """One process's figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "coord_users_requests",
            "Requests to the API, by status and code.",
            ["status", "code"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "coord_users_request_seconds",
            "Seconds from the first byte of a request to the last of its answer.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "coord_users_in_flight",
            "Requests being worked on.",
            registry=self.registry,
        )
        self.stripe = Histogram(
            "coord_users_stripe_seconds",
            "Seconds that calls to Stripe took, by call and outcome.",
            ["call", "outcome"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.open_attempts = Gauge(
            "coord_users_open_attempts",
            "Attempts whose outcome is not known yet.",
            registry=self.registry,
        )
        self.oldest_attempt = Gauge(
            "coord_users_oldest_open_attempt_seconds",
            "Age of the oldest of them.",
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """Give all figures in Prometheus's text format."""
        return generate_latest(self.registry)
