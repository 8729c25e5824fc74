"""The one error of the HTTP client."""


class NoResponse(Exception):
    """Raised when no complete response arrived.

    Args:
        reason: in words, without secrets.
        was_sent: False if no byte of the request was sent, so that it cannot have been executed.
    """

    def __init__(self, reason: str, *, was_sent: bool = True) -> None:
        super().__init__(reason)
        self.was_sent = was_sent
