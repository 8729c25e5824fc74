"""Errors become responses in this one place: `application/problem+json` (RFC 9457)."""

import json
from typing import NamedTuple

import structlog
from connexion.exceptions import OAuthProblem, ProblemException
from starlette.exceptions import HTTPException

from app import errors
from app.contract.document import PROBLEM_JSON, Contract
from app.telemetry import trace

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
    errors.IssuerUnavailable: 503,
    errors.Overloaded: 503,
}
# Stripe adds codes as it likes; those that the contract does not list have these pages.
GENERIC = {errors.CardRefused: "card_refused", errors.TokenRefused: "token_refused"}
# RFC 6750, section 3: the scheme, and what is wrong with a token that was sent.
CHALLENGES = {
    errors.InvalidAccessKey: 'Bearer realm="Coord Users API"',
    errors.InvalidUserToken: 'Bearer realm="Coord Users API", error="invalid_token"',
    errors.UserTokenExpired: (
        'Bearer realm="Coord Users API", error="invalid_token", error_description="expired"'
    ),
}


class Response(NamedTuple):
    """A response that is made here, and not by an operation's handler.

    Attributes:
        status: the HTTP status.
        code: of the problem; empty where there is none.
        headers: its own; `app.web.exchange` adds those that all responses have.
        body: as it is sent.
    """

    status: int
    code: str
    headers: dict[str, str]
    body: bytes


class Problems:
    """Responses for errors, with the contract's titles and pages.

    Args:
        contract: lists the kinds of problem.
    """

    def __init__(self, contract: Contract) -> None:
        self._types = contract.problems
        self._pages = f"{contract.base_path}/problems/"

    def response(self, error: Exception, has_access_key: bool = True) -> Response:
        """Return the response for an error of the current request; log what operators must know.

        Args:
            error: ours, a framework's, or an unexpected one.
            has_access_key: whether the request has an access key: Connexion does not tell which of
                the two credentials is missing.
        """
        known = _ours(error, has_access_key)
        status = STATUS.get(type(known), 500)
        if status == 500:
            log.error("failed", inner=known.inner, exc_info=known.__cause__ or error)
        elif known.inner:
            log.warning("trouble", code=known.code, inner=known.inner)
        kind = self._types.get(known.code) or self._types[GENERIC.get(type(known), "internal")]
        traced = trace.current()
        problem = {
            "type": traced.prefix + self._pages + kind.code,
            "title": kind.title,
            "status": status,
            "detail": known.detail,
            "code": known.code,
            "request_id": traced.request_id,
        }
        if isinstance(known, errors.CardRefused) and known.decline_code:
            problem["decline_code"] = known.decline_code
        headers = _headers(known, is_missing=isinstance(error, OAuthProblem))
        return Response(status, known.code, headers, json.dumps(problem).encode())


def _headers(error: errors.UsersApiError, is_missing: bool) -> dict[str, str]:
    headers = {"Content-Type": PROBLEM_JSON, "Cache-Control": "no-store"}
    if type(error) in CHALLENGES:
        # RFC 6750, section 3.1: no error code where no token was sent.
        challenged = errors.InvalidAccessKey if is_missing else type(error)
        headers["WWW-Authenticate"] = CHALLENGES[challenged]
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.MethodNotAllowed):
        headers["Allow"] = error.allow
    return headers


def _ours(error: Exception, has_access_key: bool) -> errors.UsersApiError:
    """Return the error of ours that means the same."""
    if isinstance(error, errors.UsersApiError):
        return error
    if isinstance(error, OAuthProblem):
        return errors.InvalidUserToken() if has_access_key else errors.InvalidAccessKey()
    if isinstance(error, HTTPException | ProblemException):
        allow = (error.headers or {}).get("Allow", "")
        framework: dict[int, errors.UsersApiError] = {
            # Flask would redirect to nearly the same path, repeating the query and any `Host`.
            308: errors.NotFound(),
            400: errors.InvalidRequest(),
            404: errors.NotFound(),
            405: errors.MethodNotAllowed(allow),
            413: errors.PayloadTooLarge(),
            415: errors.UnsupportedMediaType(),
        }
        if error.status_code in framework:
            return framework[error.status_code]
    unexpected = errors.UsersApiError(inner=type(error).__name__)
    unexpected.__cause__ = error
    return unexpected
