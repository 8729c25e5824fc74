"""Each exception becomes a response in one place: ours, the frameworks', and unexpected ones."""

import json

import pytest
from connexion.exceptions import ProblemException
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from app.contract.document import Contract
from app.errors import CardRefused, StripeUnavailable
from app.web.problems import Problems

PROBLEMS = Problems(Contract.shipped("swagger.yaml"))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HTTPException(404), 404, "not_found"),
        (HTTPException(405, headers={"Allow": "POST"}), 405, "method_not_allowed"),
        (ProblemException(status=400, detail="secret"), 400, "invalid_request"),
        (HTTPException(413), 413, "payload_too_large"),
        (HTTPException(415), 415, "unsupported_media_type"),
        (HTTPException(308, detail="http://other.example/?secret"), 404, "not_found"),
        (HTTPException(418, detail="secret"), 500, "internal"),
        (ValueError("secret"), 500, "internal"),
    ],
)
def test_frameworks_errors_get_our_words(error: Exception, status: int, code: str) -> None:
    """The frameworks' own texts may repeat what the caller sent."""
    answer = PROBLEMS.response(error)
    result = json.loads(answer.body)
    assert (answer.status, result["status"], result["code"]) == (status, status, code)
    assert b"secret" not in answer.body
    assert answer.headers.get("Allow") == ("POST" if status == 405 else None)


def test_unexpected_error_is_logged_with_its_cause() -> None:
    error = ValueError("odd")
    with capture_logs() as logged:
        PROBLEMS.response(error)
    (event,) = logged
    assert event["log_level"] == "error"
    assert event["exc_info"] is error


def test_failures_are_logged_and_refusals_are_not() -> None:
    """A refused card is an outcome; no response from Stripe is a failure."""
    with capture_logs() as logged:
        PROBLEMS.response(CardRefused(code="expired_card"))
        PROBLEMS.response(StripeUnavailable(inner="no answer"))
    assert [(event["log_level"], event["inner"]) for event in logged] == [("warning", "no answer")]


def test_unlisted_code_has_the_page_of_its_kind() -> None:
    """Stripe may add codes."""
    result = json.loads(PROBLEMS.response(CardRefused(code="odd_code")).body)
    assert result["code"] == "odd_code"
    assert result["type"] == "/v1/users/problems/card_refused"
