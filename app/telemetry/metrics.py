"""The service's metrics for Prometheus. No label ever holds what a caller sent."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.metrics import MetricWrapperBase

from app.telemetry.shared_metrics import Board, WorkerProcesses

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

# Why Stripe refuses the service itself: app/stripe_account/readings.py names each.
REASONS = ("key", "right", "customer", "source", "payment_method", "parameter")
# The calls of which one ends each save: app/stripe_account/calls.py names them.
SAVES = ("create", "update", "set_default")
# Seconds: from a response without a call to Stripe to the longest STRIPE_TIMEOUT.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)


class Metrics:
    """The metrics of one process; its exposition has those of all workers of the service.

    Args:
        board: shared with the other workers, if there are any; this process has joined it.
    """

    def __init__(self, board: Board | None = None) -> None:
        self._board = board
        self.registry = CollectorRegistry()
        # When a counter began says nothing of the service, and would be one worker's.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        if board:
            self.registry.register(WorkerProcesses(board.slots))
        else:
            # Even where the environment names a folder for prometheus_client's multiprocess mode.
            values.ValueClass = values.MutexValue
            ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "coord_users_requests",
            "Requests to the API, by status and code.",
            ["status", "code"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "coord_users_request_seconds",
            "Seconds from the end of a request's head to the end of its response.",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "coord_users_in_flight",
            "Requests in progress.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.in_flight_limit = Gauge(
            "coord_users_in_flight_limit",
            "Requests that may be in progress at once: MAX_IN_FLIGHT of each worker.",
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
            "Age of the oldest attempt whose outcome is not known yet.",
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
        """Return all metrics in Prometheus's text format."""
        if self._board:
            self._create_labeled(self._board)
        return generate_latest(self.registry)

    def _create_labeled(self, board: Board) -> None:
        """Create what other workers have counted under labels that this one has not met yet."""
        known = {
            described.name: metric
            for metric in vars(self).values()
            if isinstance(metric, MetricWrapperBase)
            for described in metric.describe()
        }
        for key in board.read():
            labels = dict(zip(key.names, key.labels, strict=True))
            # Of a histogram's buckets.
            labels.pop("le", None)
            if labels:
                known[key.metric].labels(**labels)

    def stripe_called(self, call: str, outcome: str, seconds: float) -> None:
        """Count one call to Stripe."""
        self.stripe.labels(call, outcome).observe(seconds)

    def stripe_refused_us(self, reason: str) -> None:
        """Count one call that Stripe refused for the service's own fault."""
        self.stripe_refusals.labels(reason).inc()
