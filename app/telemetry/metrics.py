"""What operators watch, in Prometheus's terms. No label ever holds what a caller sent."""

import os
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import (
    MultiProcessCollector,
    mark_process_dead,
)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

# Set by `coord-users serve` where several workers share their figures in files.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
# Why Stripe refuses the service itself: app/stripe_account/readings.py names each.
REASONS = ("key", "right", "customer", "source", "payment_method", "parameter")
# The calls of which one ends each save: app/stripe_account/calls.py names them.
SAVES = ("create", "update", "set_default")
# Seconds: from an answer without a call to Stripe to the longest STRIPE_TIMEOUT.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)


class Metrics:
    """One process's figures; in its exposition, those of all workers of the same service."""

    def __init__(self) -> None:
        self._shared = os.environ.get(SHARED)
        if self._shared:
            _forget_the_dead(self._shared)
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
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.in_flight_limit = Gauge(
            "coord_users_in_flight_limit",
            "Requests that may be worked on at once (MAX_IN_FLIGHT, summed over the workers).",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.stripe = Histogram(
            "coord_users_stripe_seconds",
            "Seconds that calls to Stripe took, by call and outcome.",
            ["call", "outcome"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.stripe_refusals = Counter(
            "coord_users_stripe_refuses_us",
            "Calls that Stripe refused for the service's own fault: its key, a right, a parameter.",
            ["reason"],
            registry=self.registry,
        )
        self.open_attempts = Gauge(
            "coord_users_open_attempts",
            "Attempts whose outcome is not known yet.",
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self.oldest_attempt = Gauge(
            "coord_users_oldest_open_attempt_seconds",
            "Age of the oldest of them.",
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self.issuer_fetches = Counter(
            "coord_users_issuer_fetches",
            "Times that an issuer's keys were read or fetched, by outcome: success or failure.",
            ["partner", "issuer", "outcome"],
            registry=self.registry,
        )
        self.keys_passed_over = Gauge(
            "coord_users_issuer_keys_passed_over",
            "Keys in an issuer's JWK Set that are not used: private ones, and others.",
            ["partner", "issuer", "kind"],
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )

        # Prometheus's increase() misses the first count of a series that begins with it, so what
        # an alert rule watches begins at 0.
        self.requests.labels(500, "internal")
        for reason in REASONS:
            self.stripe_refusals.labels(reason)
        for call in SAVES:
            self.stripe.labels(call, "answered")

    def exposition(self) -> bytes:
        """Give all figures in Prometheus's text format."""
        if not self._shared:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._shared)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def stripe_called(self, call: str, outcome: str, seconds: float) -> None:
        """Count one call to Stripe."""
        self.stripe.labels(call, outcome).observe(seconds)

    def stripe_refused_us(self, reason: str) -> None:
        """Count one call that Stripe refused for the service's own fault."""
        self.stripe_refusals.labels(reason).inc()


def _forget_the_dead(folder: str) -> None:
    """Let workers that ended and were replaced have nothing in flight any more."""
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
