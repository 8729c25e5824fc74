"""The errors of the service, without HTTP: `app.web.problems` turns them into responses.

`detail` is for the caller and contains nothing that a caller sent; `inner` is for the log alone.
"""


class ConfigurationError(Exception):
    """The configuration does not allow the service or a command to run; one line says why."""


class CallerIsGone(Exception):
    """The caller has hung up before work for its request began; no response is sent."""


class UsersApiError(Exception):
    """A request that did not succeed; the caller gets `code` and `detail`.

    Args:
        detail: a sentence for the caller, free of secrets and of what the caller sent.
        code: stable, for programs; each class has its own.
        inner: what operators need to know in addition, for the log alone.
        retry_after: seconds after which sending the same request again makes sense.
    """

    code = "internal"
    detail = "The service failed. Quote the request id to Coord's support."
    retry_after: int | None = None

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        inner: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(inner or detail or self.detail)
        self.detail = detail or self.detail
        self.code = code or self.code
        self.inner = inner
        if retry_after is not None:
            self.retry_after = retry_after


class InvalidRequest(UsersApiError):
    """A request breaks the contract."""

    code = "invalid_request"
    detail = "The request does not follow the contract."


class InvalidAccessKey(UsersApiError):
    """The access key is missing, malformed, unknown or revoked."""

    code = "invalid_access_key"
    detail = "The query parameter `access_key` is missing, unknown or revoked."


class InvalidUserToken(UsersApiError):
    """The user's JWT is missing, malformed, forged or not meant for Coord."""

    code = "invalid_user_token"
    detail = "The header `Authorization: Bearer <JWT>` is missing or its JWT is not valid."


class UserTokenExpired(UsersApiError):
    """The user's JWT is genuine and out of date."""

    code = "user_token_expired"
    detail = "The user's JWT has expired. Get a new one and send the request again."


class TestUser(UsersApiError):
    """The JWT belongs to a test user, for whom Stripe is not called."""

    __test__ = False  # pytest takes every Test* for a test class
    code = "test_user"
    detail = (
        "Test users have no Stripe customer: systems that need "
        "`stripe_info.stripe_customer_id` cannot be used with a test JWT."
    )


class PartnerMismatch(UsersApiError):
    """The access key and the JWT's issuer belong to different partners."""

    code = "partner_mismatch"
    detail = "The access key and the JWT belong to different partners."


class NotFound(UsersApiError):
    """Nothing is at the request's path."""

    code = "not_found"
    detail = "There is nothing at this address."


class MethodNotAllowed(UsersApiError):
    """The path exists, but not for the request's method."""

    code = "method_not_allowed"
    detail = "This address does not take that method."

    def __init__(self, allow: str) -> None:
        super().__init__()
        self.allow = allow


class PayloadTooLarge(UsersApiError):
    """A request is larger than any the contract allows."""

    code = "payload_too_large"
    detail = "The request body is larger than 16 KiB."


class UnsupportedMediaType(UsersApiError):
    """A body is not `application/json` in UTF-8."""

    code = "unsupported_media_type"
    detail = "Send the body as `Content-Type: application/json`, in UTF-8."


class RequestTimeout(UsersApiError):
    """A caller takes too long to send its request."""

    code = "request_timeout"
    detail = "The request body did not arrive in time."


class CardRefused(UsersApiError):
    """Stripe refuses the card; the code is Stripe's own.

    See https://docs.stripe.com/declines/codes for `decline_code`.
    """

    code = "card_declined"
    detail = "The card was refused. Ask the user for another card."

    def __init__(
        self, detail: str | None = None, *, code: str | None = None, decline_code: str | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.decline_code = decline_code


class TokenRefused(UsersApiError):
    """Stripe refuses the token; the code is Stripe's own.

    See https://docs.stripe.com/error-codes.
    """

    code = "token_refused"
    detail = "Stripe does not accept this token. Make a new one."

    def __init__(self, detail: str | None = None, *, code: str | None = None) -> None:
        super().__init__(detail or TOKEN_DETAILS.get(code or ""), code=code)


# For Stripe's codes where there is more to say than to make a new token.
TOKEN_DETAILS = {
    "token_already_used": "This token has been used before. Make a new one.",
    "token_in_use": "This token is being used by another request. Make a new one.",
    "resource_missing": (
        "Stripe does not know this token or PaymentMethod on Coord's account. It must be targeted "
        "at Coord: make or clone it with the header "
        "`Stripe-Account: <id of Coord's connected account>`."
    ),
    "livemode_mismatch": "A test token was sent to the live service, or a live one to a test.",
}


class UpdateInProgress(UsersApiError):
    """Another update of the same user did not end within the time budget."""

    code = "update_in_progress"
    retry_after = 1
    detail = "Another update of this user is under way. Send the request again."


class TooManyAttempts(UsersApiError):
    """A user, or a partner, has had too many refused cards lately."""

    code = "too_many_attempts"
    retry_after = 60
    detail = "Too many cards were refused lately. Try again later."


class StripeUnavailable(UsersApiError):
    """Stripe's answer is unknown: the card may or may not be saved by now."""

    code = "stripe_unavailable"
    retry_after = 2
    detail = "Stripe did not answer for certain. Send the same request again: it converges."


class StorageUnavailable(UsersApiError):
    """The database cannot be used.

    Attributes:
        is_commit_unknown: whether the transaction may be committed all the same.
    """

    is_commit_unknown = False
    code = "storage_unavailable"
    retry_after = 2
    detail = "The service cannot reach its storage. Send the same request again."


class IssuerUnavailable(UsersApiError):
    """It cannot be known now whether the issuer's keys have signed a JWT."""

    code = "issuer_unavailable"
    retry_after = 10
    detail = (
        "The keys of the JWT's issuer cannot be fetched now. Send the same request again, "
        "with the same JWT."
    )


class Overloaded(UsersApiError):
    """The service is at its limit and takes no more requests for now."""

    code = "overloaded"
    retry_after = 1
    detail = "The service is at its limit. Send the same request again."


class Misconfigured(UsersApiError):
    """Stripe refuses what an operator configured; after a change there, it converges.

    Args:
        inner: in words, what Stripe refuses, for the log alone.
        reason: a short name for the metric, such as `key` or `right`.
    """

    def __init__(self, inner: str, *, reason: str = "key") -> None:
        super().__init__(inner=inner)
        self.reason = reason


class ParameterRefused(UsersApiError):
    """Stripe refuses a call for a defect of this service; nothing was executed.

    Args:
        inner: in words, what Stripe refuses, for the log alone.
    """

    reason = "parameter"

    def __init__(self, inner: str) -> None:
        super().__init__(inner=inner)


def clear_tracebacks(error: BaseException) -> None:
    """Clear the tracebacks of an error and its causes, to break reference cycles through frames.

    Frames of Flask, Connexion and Stripe's SDK hold the error that holds them. So all that a failed
    request used would be left to the garbage collector, which pauses the whole process.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            pending += (one.__cause__, one.__context__)
