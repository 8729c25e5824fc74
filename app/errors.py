"""What can go wrong, told without a word of HTTP; `problems` turns these into answers.

`detail` is for the caller and holds nothing that a caller sent; `inner` is for the log alone.
"""


class ConfigurationError(Exception):
    """Raised at the start, when the service cannot run as it is configured: one line says why."""


class CallerIsGone(Exception):
    """Raised before the work for a request begins whose caller has hung up: nobody is told."""


class UsersApiError(Exception):
    """What a caller is told of a request that did not succeed.

    Args:
        detail: a sentence for the caller, free of secrets and of what the caller sent.
        code: stable, for programs; each class has its own.
        inner: what operators need to know besides, for the log alone.
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
    """Raised when a request breaks the contract."""

    code = "invalid_request"
    detail = "The request does not follow the contract."


class InvalidAccessKey(UsersApiError):
    """Raised when the access key is missing, malformed, unknown or revoked."""

    code = "invalid_access_key"
    detail = "The query parameter `access_key` is missing, unknown or revoked."


class InvalidUserToken(UsersApiError):
    """Raised when the user's JWT is missing, malformed, forged or not meant for Coord."""

    code = "invalid_user_token"
    detail = "The header `Authorization: Bearer <JWT>` is missing or its JWT is not valid."


class UserTokenExpired(UsersApiError):
    """Raised when the user's JWT is genuine and out of date."""

    code = "user_token_expired"
    detail = "The user's JWT has expired. Get a new one and send the request again."


class TestUser(UsersApiError):
    """Raised when the JWT belongs to a test user, before Stripe is called."""

    __test__ = False  # pytest takes every Test* for a test class
    code = "test_user"
    detail = (
        "Test users have no Stripe customer: systems that need "
        "`stripe_info.stripe_customer_id` cannot be used with a test JWT."
    )


class PartnerMismatch(UsersApiError):
    """Raised when the access key and the JWT's issuer belong to different partners."""

    code = "partner_mismatch"
    detail = "The access key and the JWT belong to different partners."


class NotFound(UsersApiError):
    """Raised when nothing is at the request's path."""

    code = "not_found"
    detail = "There is nothing at this address."


class MethodNotAllowed(UsersApiError):
    """Raised when the path exists, but not for the request's method.

    Args:
        allow: the methods that it has, as for the header `Allow`.
    """

    code = "method_not_allowed"
    detail = "This address does not take that method."

    def __init__(self, allow: str) -> None:
        super().__init__()
        self.allow = allow


class PayloadTooLarge(UsersApiError):
    """Raised when a request is larger than any the contract allows."""

    code = "payload_too_large"
    detail = "The request body is larger than 16 KiB."


class UnsupportedMediaType(UsersApiError):
    """Raised when a body is not `application/json` in UTF-8."""

    code = "unsupported_media_type"
    detail = "Send the body as `Content-Type: application/json`, in UTF-8."


class RequestTimeout(UsersApiError):
    """Raised when a caller takes too long to send its request."""

    code = "request_timeout"
    detail = "The request body did not arrive in time."


class CardRefused(UsersApiError):
    """Raised when Stripe refuses the card; the code is Stripe's own.

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
    """Raised when Stripe refuses the token; the code is Stripe's own.

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
        "Stripe does not know this token on Coord's account. The token must be targeted at Coord: "
        "make it with the header `Stripe-Account: <id of Coord's connected account>`."
    ),
    "livemode_mismatch": "A test token was sent to the live service, or a live one to a test.",
}


class UpdateInProgress(UsersApiError):
    """Raised when another update of the same user did not end within the time budget."""

    code = "update_in_progress"
    retry_after = 1
    detail = "Another update of this user is under way. Send the request again."


class TooManyAttempts(UsersApiError):
    """Raised when a user, or a partner, has had too many refused cards lately."""

    code = "too_many_attempts"
    retry_after = 60
    detail = "Too many cards were refused lately. Try again later."


class StripeUnavailable(UsersApiError):
    """Raised when Stripe's answer is unknown: the card may or may not be saved by now."""

    code = "stripe_unavailable"
    retry_after = 2
    detail = "Stripe did not answer for certain. Send the same request again: it converges."


class StorageUnavailable(UsersApiError):
    """Raised when the database cannot be used.

    Attributes:
        is_commit_unknown: whether the transaction may be committed all the same.
    """

    is_commit_unknown = False
    code = "storage_unavailable"
    retry_after = 2
    detail = "The service cannot reach its storage. Send the same request again."


class IssuerUnavailable(UsersApiError):
    """Raised when it cannot be known now whether the issuer's keys have signed a JWT."""

    code = "issuer_unavailable"
    retry_after = 10
    detail = (
        "The keys of the JWT's issuer cannot be fetched now. Send the same request again, "
        "with the same JWT."
    )


class Overloaded(UsersApiError):
    """Raised when the service is at its limit and takes no more requests for now."""

    code = "overloaded"
    retry_after = 1
    detail = "The service is at its limit. Send the same request again."


class Misconfigured(UsersApiError):
    """Raised when Stripe refuses what an operator configured; after a change there, it converges.

    Args:
        inner: in words, what Stripe refuses, for the log alone.
        reason: a short name for the metric, such as `key` or `right`.
    """

    def __init__(self, inner: str, *, reason: str = "key") -> None:
        super().__init__(inner=inner)
        self.reason = reason


class ParameterRefused(UsersApiError):
    """Raised when Stripe refuses a call for a defect of this service; nothing was executed.

    Args:
        inner: in words, what Stripe refuses, for the log alone.
    """

    reason = "parameter"

    def __init__(self, inner: str) -> None:
        super().__init__(inner=inner)


def forget_frames(error: BaseException) -> None:
    """Let go of all that an error and its causes have passed through, once nobody asks any more.

    Frames of Flask, Connexion and Stripe's SDK know the error that knows them. So all that a
    failed request held would wait for the collector, which then holds up the whole process.
    """
    known: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        one = ahead.pop()
        if one is not None and id(one) not in known:
            known.add(id(one))
            one.__traceback__ = None
            ahead += (one.__cause__, one.__context__)
