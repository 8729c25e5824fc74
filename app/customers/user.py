"""The user whose card is saved."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    """One user: one subject of one registered issuer.

    Attributes:
        issuer_id: the registration of the issuer that signed the user's JWT.
        partner_id: the partner that registered the issuer.
        subject: the JWT's `sub`.
        email: sent to Stripe; None where the JWT has no usable address.
        is_test: a test user, for whom Stripe must never be called.
        given_name: the JWT's `given_name`; None where the JWT has no usable one.
        family_name: the JWT's `family_name`, likewise.
    """

    issuer_id: int
    partner_id: int
    subject: str = field(repr=False)
    email: str | None = field(repr=False)
    is_test: bool
    given_name: str | None = field(default=None, repr=False)
    family_name: str | None = field(default=None, repr=False)
