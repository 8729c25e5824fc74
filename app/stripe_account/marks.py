"""The marks that an answer must have to be taken for the answer to the call that was made.

Each function returns a reader for a body: it raises `Unreadable` unless the object is the one that
was named, and as it was asked to be. So an answer to another request, which a faulty proxy may
deliver, is never taken for ours.
"""

from collections.abc import Callable, Mapping

from app.stripe_account import objects
from app.stripe_account.objects import Customer, PaymentMethod, Token, require

Metadata = Mapping[str, str]

# Whatever else the metadata of an object contains, this names the attempt that asked for it.
ATTEMPT = "coord_attempt"
ANY: Metadata = {}


def customer(
    id_: str | None = None, metadata: Metadata = ANY, default: str | None = None
) -> Callable[[object], Customer]:
    """Return a reader of the customer with this id, attempt and default PaymentMethod."""

    def read(body: object) -> Customer:
        require(id_ in (None, objects.id_of(body)), "it is another customer")
        found = objects.customer(body)
        require(default in (None, found.default_payment_method), "its default is another one")
        _require_attempt(found.metadata, metadata)
        return found

    return read


def updated_customer(id_: str, metadata: Metadata) -> Callable[[object], Customer]:
    """Return a reader of the customer with this id and all of this metadata."""

    def read(body: object) -> Customer:
        found = customer(id_)(body)
        # An empty value removes the name.
        is_set = all(found.metadata.get(name, "") == value for name, value in metadata.items())
        require(is_set, "its metadata is not what was sent")
        return found

    return read


def deleted_customer(id_: str) -> Callable[[object], None]:
    """Return a reader of what is left of the customer with this id."""

    def read(body: object) -> None:
        require(objects.deleted_customer(body) == id_, "it is another customer")

    return read


def new_payment_method(metadata: Metadata) -> Callable[[object], PaymentMethod]:
    """Return a reader of a PaymentMethod that this attempt created."""

    def read(body: object) -> PaymentMethod:
        found = objects.payment_method(body)
        _require_attempt(found.metadata, metadata)
        return found

    return read


def payment_method(id_: str) -> Callable[[object], PaymentMethod]:
    """Return a reader of the PaymentMethod with this id, attached or not."""

    def read(body: object) -> PaymentMethod:
        found = objects.payment_method(body)
        require(found.id == id_, "it is another PaymentMethod")
        return found

    return read


def payment_method_of(
    customer_id: str | None, id_: str | None = None
) -> Callable[[object], PaymentMethod]:
    """Return a reader of a PaymentMethod that is attached to this customer; None for to none."""

    def read(body: object) -> PaymentMethod:
        found = objects.payment_method(body)
        require(id_ in (None, found.id), "it is another PaymentMethod")
        require(found.customer == customer_id, "it is not attached as it should be")
        return found

    return read


def token(id_: str) -> Callable[[object], Token]:
    """Return a reader of the token with this id."""

    def read(body: object) -> Token:
        found = objects.token(body)
        require(found.id == id_, "it is another token")
        return found

    return read


def _require_attempt(found: Metadata, sent: Metadata) -> None:
    is_ours = ATTEMPT not in sent or found.get(ATTEMPT) == sent[ATTEMPT]
    require(is_ours, "its metadata names another attempt")
