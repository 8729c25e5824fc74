"""The user whose card is saved."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    """One user: one subject of one registered issuer.

    Attributes:
        issuer_id: the registration of the issuer that signed the user's JWT.
        partner_id: the partner that registered the issuer.
        issuer: the JWT's `iss`.
        subject: the JWT's `sub`.
        email: sent to Stripe; None where the JWT has no usable address.
        is_test: a test user, for whom Stripe must never be called.
        given_name: the JWT's `given_name`; None where the JWT has no usable one.
        family_name: the JWT's `family_name`, likewise.
    """

    issuer_id: int
    partner_id: int
    partner: str
    issuer: str
    subject: str = field(repr=False)
    email: str | None = field(repr=False)
    is_test: bool
    given_name: str | None = field(default=None, repr=False)
    family_name: str | None = field(default=None, repr=False)


def user_hash(installation: str, partner: str, issuer: str, subject: str) -> bytes:
    """Return the SHA-256 that names a user in our table and in the customer's metadata at Stripe.

    It survives the loss of the database, and holds no personal data. The subject comes last: it is
    the only part that may hold the separator, so no two users have the same input.
    """
    return hashlib.sha256("\0".join((installation, partner, issuer, subject)).encode()).digest()
