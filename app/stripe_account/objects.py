"""Stripe's objects as far as they concern this service, read from the bodies of answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.stripe_account.outcomes import CustomerGone

Json = Mapping[str, object]


class Unreadable(ValueError):
    """Raised if a body is not the object that was asked for."""


@dataclass(frozen=True)
class Customer:
    """A customer on Coord's account (https://docs.stripe.com/api/customers/object).

    Attributes:
        metadata: what this service, or another client of the account, stored with it.
        created: seconds since the epoch, by Stripe's clock.
        default_payment_method: `invoice_settings.default_payment_method`, which is charged first.
        default_source: which is charged otherwise.
    """

    id: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    created: int = 0
    default_payment_method: str | None = None
    default_source: str | None = None


@dataclass(frozen=True)
class PaymentMethod:
    """A PaymentMethod on Coord's account (https://docs.stripe.com/api/payment_methods/object).

    Attributes:
        customer: to which it is attached; None if it is not, or not any more.
        metadata: given when it was created, or while it was attached.
    """

    id: str
    customer: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Token:
    """A card token (https://docs.stripe.com/api/tokens/object).

    Attributes:
        used: whether a customer or a PaymentMethod was made from it.
    """

    id: str = field(repr=False)
    used: bool = False


def customer(body: object) -> Customer:
    """Read a customer.

    Raises:
        CustomerGone: it was deleted.
        Unreadable: it is not a customer.
    """
    found = _object(body, "customer", "cus_")
    if found.get("deleted") is True:
        raise CustomerGone
    settings = found.get("invoice_settings")
    return Customer(
        id=str(found["id"]),
        metadata=_metadata(found),
        created=_number(found.get("created")),
        default_payment_method=(
            _id(settings.get("default_payment_method")) if isinstance(settings, Mapping) else None
        ),
        default_source=_id(found.get("default_source")),
    )


def deleted_customer(body: object) -> str:
    """Read what is left of a deleted customer: its id.

    Raises:
        Unreadable: it is not a deleted customer.
    """
    found = _object(body, "customer", "cus_")
    if found.get("deleted") is not True:
        raise Unreadable("the customer is not deleted")
    return str(found["id"])


def payment_method(body: object) -> PaymentMethod:
    """Read a PaymentMethod.

    Raises:
        Unreadable: it is not one.
    """
    found = _object(body, "payment_method", "")
    return PaymentMethod(str(found["id"]), _id(found.get("customer")), _metadata(found))


def token(body: object) -> Token:
    """Read a token.

    Raises:
        Unreadable: it is not one.
    """
    found = _object(body, "token", "tok_")
    return Token(str(found["id"]), found.get("used") is True)


def page(body: object) -> tuple[Sequence[object], bool]:
    """Read a page of a list: its items, and whether there are more.

    Raises:
        Unreadable: it is not a list.
    """
    if not isinstance(body, Mapping) or body.get("object") != "list":
        raise Unreadable("it is not a list")
    items, has_more = body.get("data"), body.get("has_more")
    if not isinstance(items, list) or not isinstance(has_more, bool):
        raise Unreadable("it is not a page of a list")
    return items, has_more


def id_of(body: object) -> str:
    """Return the id of any object; empty if it has none."""
    name = body.get("id") if isinstance(body, Mapping) else None
    return name if isinstance(name, str) else ""


def require(holds: bool, otherwise: str) -> None:
    """Check a mark of an answer.

    Raises:
        Unreadable: it does not hold, so that this is not the answer to what was asked.
    """
    if not holds:
        raise Unreadable(otherwise)


def _object(body: object, kind: str, prefix: str) -> Json:
    if not isinstance(body, Mapping) or body.get("object") != kind:
        raise Unreadable(f"it is not a {kind}")
    name = id_of(body)
    if not name or not name.startswith(prefix):
        raise Unreadable(f"it is not the id of a {kind}")
    return body


def _metadata(body: Json) -> dict[str, str]:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return {}
    return {str(name): str(value) for name, value in metadata.items()}


def _id(value: object) -> str | None:
    """Return the id of a reference, also where it is expanded into the object itself."""
    return _text(value.get("id") if isinstance(value, Mapping) else value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
