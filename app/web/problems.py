"""Errors turned into answers, in this one place: `application/problem+json` (RFC 9457)."""

import json
from typing import NamedTuple

import structlog
from connexion.exceptions import OAuthProblem, ProblemException
from starlette.exceptions import HTTPException

from app import errors
from app.contract.document import PROBLEM_JSON, Contract

log = structlog.get_logger()

STATUS: dict[type[errors.UsersApiError], int] = {
    errors.InvalidRequest: 400,
    errors.InvalidAccessKey: 401,
    errors.InvalidUserToken: 401,
    errors.UserTokenExpired: 401,
    errors.CardRefused: 402,
    errors.TestUser: 403,
    errors.PartnerMismatch: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.UpdateInProgress: 409,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.TokenRefused: 422,
    errors.TooManyAttempts: 429,
    errors.Misconfigured: 500,
    errors.ParameterRefused: 500,
    errors.StripeUnavailable: 503,
    errors.StorageUnavailable: 503,
    errors.Overloaded: 503,
}
# Stripe adds codes as it likes; those that the contract does not know go by these.
GENERIC = {errors.CardRefused: "card_refused", errors.TokenRefused: "token_refused"}
# RFC 6750, section 3: the scheme, and what is wrong once there is a token.
CHALLENGES = {
    errors.InvalidAccessKey: 'Bearer realm="Coord Users API"',
    errors.InvalidUserToken: 'Bearer realm="Coord Users API", error="invalid_token"',
    errors.UserTokenExpired: (
        'Bearer realm="Coord Users API", error="invalid_token", error_description="expired"'
    ),
}


class Answer(NamedTuple):
    """An answer to a request that did not succeed."""

    status: int
    code: str
    headers: dict[str, str]
    body: bytes


class Problems:
    """Answers for errors, in the words of the contract.

    Args:
        contract: knows the kinds of problem and where their pages are.
    """

    def __init__(self, contract: Contract) -> None:
        self._types = contract.problems
        self._pages = f"{contract.base_path}/problems/"

    def answer(self, error: Exception, request_id: str, has_access_key: bool = True) -> Answer:
        """Turn an error into an answer; one that nobody foresaw is logged with its trace.

        Args:
            error: ours, a framework's, or any other.
            request_id: also in the answer's header and in each log event.
            has_access_key: whether the request bore an access key: of the two credentials,
                Connexion does not tell which is missing.
        """
        known = _ours(error, has_access_key)
        status = STATUS.get(type(known), 500)
        if status == 500:
            log.error("failed", inner=known.inner, exc_info=known.__cause__ or error)
        elif known.inner:
            log.warning("trouble", code=known.code, inner=known.inner)
        kind = self._types.get(known.code) or self._types[GENERIC.get(type(known), "internal")]
        told = {
            "type": self._pages + kind.code,
            "title": kind.title,
            "status": status,
            "detail": known.detail,
            "code": known.code,
            "request_id": request_id,
        }
        if getattr(known, "decline_code", None):
            told["decline_code"] = known.decline_code  # type: ignore[attr-defined]
        headers = {"Content-Type": PROBLEM_JSON, "Cache-Control": "no-store"}
        if type(known) in CHALLENGES:
            missing = isinstance(error, OAuthProblem)
            headers["WWW-Authenticate"] = CHALLENGES[
                errors.InvalidAccessKey if missing else type(known)
            ]
        if known.retry_after is not None:
            headers["Retry-After"] = str(known.retry_after)
        if isinstance(known, errors.MethodNotAllowed):
            headers["Allow"] = known.allow
        return Answer(status, known.code, headers, json.dumps(told).encode())


def _ours(error: Exception, has_access_key: bool) -> errors.UsersApiError:
    """Give the error of ours that says the same."""
    if isinstance(error, errors.UsersApiError):
        return error
    if isinstance(error, OAuthProblem):
        return errors.InvalidUserToken() if has_access_key else errors.InvalidAccessKey()
    if isinstance(error, HTTPException | ProblemException):
        allow = (error.headers or {}).get("Allow", "")
        framework: dict[int, errors.UsersApiError] = {
            # Flask would lead to nearly the same path, and repeat the query and any `Host`.
            308: errors.NotFound(),
            400: errors.InvalidRequest(),
            404: errors.NotFound(),
            405: errors.MethodNotAllowed(allow),
            413: errors.PayloadTooLarge(),
            415: errors.UnsupportedMediaType(),
        }
        if error.status_code in framework:
            return framework[error.status_code]
    unforeseen = errors.UsersApiError(inner=type(error).__name__)
    unforeseen.__cause__ = error
    return unforeseen
