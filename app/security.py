"""The contract's security schemes: the functions that `securityDefinitions` name.

Connexion passes what they return to the operation's handler, as arguments of those names. It calls
them in the order in which the contract's `security` lists them: the access key first.
"""

from starlette.requests import HTTPConnection

from app.customers.user import User
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
        InvalidUserToken, UserTokenExpired, PartnerMismatch, IssuerUnavailable, StorageUnavailable:
            as for `Identity.user_of`.
    """
    return {"user": await _identity(request).user_of(token, trace.current().partner)}


def _identity(request: HTTPConnection) -> Identity:
    identity: Identity = request.scope["state"]["identity"]
    return identity
