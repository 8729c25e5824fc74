"""The stand-in's answers other than 200, in Stripe's form (https://docs.stripe.com/api/errors)."""

from typing import Any

Object = dict[str, Any]

DOCS = "https://stripe.com/docs/error-codes"
LOGS = "https://dashboard.stripe.com/test/logs"


class StripeProblem(Exception):
    """An answer other than 200.

    Args:
        message: for people; this service never reads it.
        headers: besides those of every answer.
        members: of the error: `type`, `code`, `param`, `decline_code` and so on. None is left out.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: dict[str, str] | None = None,
        **members: str | None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.error = {"type": "invalid_request_error", "message": message, **members}

    @property
    def code(self) -> str:
        """Stripe's code; empty if there is none."""
        return self.error.get("code") or ""

    def body(self, request_id: str, now: float) -> Object:
        """Return the answer's body.

        Args:
            request_id: of the request that it answers; empty if Stripe does not name it.
            now: seconds since the epoch.
        """
        error = {name: value for name, value in self.error.items() if value is not None}
        if self.code:
            error["doc_url"] = f"{DOCS}/{self.code.replace('_', '-')}"
        if request_id:
            error["request_log_url"] = f"{LOGS}/{request_id}?t={int(now)}"
        return {"error": error}


def missing(param: str) -> StripeProblem:
    """Return the answer to a request without a parameter that it needs."""
    return StripeProblem(
        400, f"Missing required param: {param}.", code="parameter_missing", param=param
    )


def no_such(kind: str, name: str, param: str, status: int = 400) -> StripeProblem:
    """Return the answer to a request that names an object which does not exist."""
    return StripeProblem(status, f"No such {kind}: '{name}'", code="resource_missing", param=param)
