"""One worker, as its parent sees it."""

import socket


class Child:
    """One worker, as the parent sees it.

    Attributes:
        number: its slot of the metrics.
        pid: its process id; 0 while it is not running.
        channel: the parent's end; the worker reports there, and notices when it is closed.
        is_ready: whether it takes requests.
        error: why it could not start, as it reported.
        failures: how often in a row it has failed to start.
        start_at: when it is to be started, by the monotonic clock.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid = 0
        self.channel: socket.socket | None = None
        self.is_ready = False
        self.error = ""
        self.failures = 0
        self.start_at = 0.0
        self.started_at = 0.0
        self.silent_ticks = 0
        self.beats = 0
