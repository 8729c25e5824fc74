"""The contract's security schemes: the functions that `securityDefinitions` name.

What each returns is passed to the operation's handler as arguments of those names.
"""

from starlette.requests import HTTPConnection

from app.customers.user import User
from app.errors import PartnerMismatch
from app.identity.credentials import Identity
from app.telemetry import trace


async def check_access_key(api_key: str, request: HTTPConnection) -> dict[str, int]:
    """Check the query parameter `access_key`.

    Raises:
        InvalidAccessKey, StorageUnavailable: as for `Identity.partner_of`.
    """
    partner_id = await _identity(request).partner_of(api_key)
    trace.current().partner = partner_id
    return {"partner_id": partner_id}


async def check_user_jwt(token: str, request: HTTPConnection) -> dict[str, User]:
    """Check the bearer token (RFC 6750), once the access key is known to be valid.

    Raises:
        InvalidUserToken, UserTokenExpired, StorageUnavailable: as for `Identity.user_of`.
        PartnerMismatch: the access key belongs to another partner than the JWT's issuer.
    """
    user = await _identity(request).user_of(token)
    if user.partner_id != trace.current().partner:
        raise PartnerMismatch
    return {"user": user}


def _identity(request: HTTPConnection) -> Identity:
    identity: Identity = request.scope["state"]["identity"]
    return identity
