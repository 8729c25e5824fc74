"""Coord's account at Stripe: the calls of this service.

`app.stripe_account.marks` has what an answer must contain to count as the answer to a call,
`app.stripe_account.readings` the meaning of each failure, `app.stripe_account.outcomes` the
exceptions.
"""

from collections.abc import Callable, Iterator, Mapping

from app.errors import TokenRefused
from app.stripe_account import calls, marks
from app.stripe_account.exchanges import Exchanges, Timeout, path_to
from app.stripe_account.objects import Customer, PaymentMethod, Token
from app.stripe_account.outcomes import (
    CustomerGone,
    CustomerUnknown,
    EmailRefused,
    KeyMismatch,
    OutcomeUnknown,
)

__all__ = [
    "Customer",
    "CustomerGone",
    "CustomerUnknown",
    "EmailRefused",
    "KeyMismatch",
    "OutcomeUnknown",
    "PaymentMethod",
    "StripeAccount",
    "Token",
]

Metadata = Mapping[str, str]

# Stripe's ids for tests. Stripe attaches a copy with an id of its own, which could not be found
# again after a crash, and refuses them when a customer is created.
TEST_PAYMENT_METHODS = "pm_card_"


class StripeAccount:
    """The calls of this service to Stripe.

    Each takes `timeout`: seconds until its outcome counts as unknown; those that change something
    take `idempotency_key`: Stripe executes at most one call for each key. Each can raise
    `Misconfigured` and the kinds of `OutcomeUnknown`.

    Args:
        api_base: another address than Stripe's, for a stand-in.
        connections: how many idle connections are kept, shared among threads.
        observe: called after each call with its name, its outcome and its seconds.
        refused: called with a short reason if Stripe refuses the service itself, not a card.
    """

    def __init__(
        self,
        secret_key: str,
        api_base: str = "",
        *,
        connections: int = 100,
        observe: Callable[[str, str, float], None] = lambda _call, _outcome, _seconds: None,
        refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._exchanges = Exchanges(
            secret_key, api_base, connections=connections, observe=observe, refused=refused
        )

    def close(self) -> None:
        """Close all connections."""
        self._exchanges.close()

    def create_customer(
        self,
        *,
        source: str | None = None,
        payment_method: str | None = None,
        email: str | None,
        metadata: Metadata,
        idempotency_key: str,
        timeout: float,
    ) -> Customer:
        """Create a customer with a card as its default, or none at all.

        https://docs.stripe.com/api/customers/create

        Args:
            source: a token; its card becomes the default source.
            payment_method: in its place, a PaymentMethod; becomes the default of invoices.

        Raises:
            CardRefused, TokenRefused, EmailRefused, ParameterRefused: no customer was created.
            KeyMismatch: the key was used with other parameters.
            LookFirst: only for a PaymentMethod; retrieve it.
        """
        params: dict[str, object] = {"metadata": metadata}
        if payment_method is None:
            call = calls.CREATE
            params["source"] = source
        else:
            call = calls.CREATE_WITH_PM
            _require_real(payment_method)
            params["payment_method"] = payment_method
            # Without this, the customer has the card but no default.
            params["invoice_settings"] = {"default_payment_method": payment_method}
        if email:
            params["email"] = email
        read = marks.customer(metadata=metadata, default=payment_method)
        path = path_to("customers")
        return self._exchanges.post(call, path, params, idempotency_key, timeout, read)

    def replace_source(
        self,
        customer_id: str,
        token: str,
        metadata: Metadata,
        *,
        idempotency_key: str,
        timeout: float,
    ) -> Customer:
        """Make the token's card the customer's default source, or change nothing.

        Stripe deletes the default source that there was.
        https://docs.stripe.com/api/customers/update

        Raises:
            CardRefused, TokenRefused, ParameterRefused: nothing was changed.
            CustomerGone: Stripe did not find the customer; `retrieve` confirms it.
            KeyMismatch: the key was used with other parameters.
        """
        params = {"source": token, "metadata": metadata}
        read = marks.customer(customer_id, metadata)
        path = path_to("customers", customer_id)
        return self._exchanges.post(calls.UPDATE, path, params, idempotency_key, timeout, read)

    def set_default(
        self,
        customer_id: str,
        payment_method: str,
        metadata: Metadata,
        *,
        idempotency_key: str,
        timeout: float,
    ) -> Customer:
        """Make an attached PaymentMethod the default of the customer's invoices.

        https://docs.stripe.com/api/customers/update

        Raises:
            LookFirst: it is not attached to the customer; retrieve it.
            CustomerGone: Stripe did not find the customer; `retrieve` confirms it.
            ParameterRefused, KeyMismatch: nothing was changed.
        """
        settings = {"default_payment_method": payment_method}
        params = {"invoice_settings": settings, "metadata": metadata}
        read = marks.customer(customer_id, metadata, payment_method)
        path = path_to("customers", customer_id)
        return self._exchanges.post(calls.SET_DEFAULT, path, params, idempotency_key, timeout, read)

    def set_metadata(self, customer_id: str, metadata: Metadata, *, timeout: float) -> Customer:
        """Add to a customer's metadata; an empty value removes its name.

        https://docs.stripe.com/api/metadata

        Raises:
            CustomerGone: Stripe did not find the customer; `retrieve` confirms it.
            ParameterRefused: nothing was changed.
        """
        read = marks.updated_customer(customer_id, metadata)
        path = path_to("customers", customer_id)
        params = {"metadata": metadata}
        return self._exchanges.post(calls.SET_METADATA, path, params, None, timeout, read)

    def create_payment_method(
        self, token: str, metadata: Metadata, *, idempotency_key: str, timeout: float
    ) -> PaymentMethod:
        """Turn a token into a PaymentMethod that is attached to no customer.

        https://docs.stripe.com/api/payment_methods/create

        Raises:
            CardRefused, TokenRefused, ParameterRefused: none was created.
            LookFirst: retrieve the token.
            KeyMismatch: the key was used with other parameters.
        """
        params = {"type": "card", "card": {"token": token}, "metadata": metadata}
        read = marks.new_payment_method(metadata)
        path = path_to("payment_methods")
        return self._exchanges.post(calls.CREATE_PM, path, params, idempotency_key, timeout, read)

    def attach(
        self, payment_method: str, customer_id: str, *, idempotency_key: str, timeout: float
    ) -> PaymentMethod:
        """Attach a PaymentMethod to a customer, whose default does not change.

        https://docs.stripe.com/api/payment_methods/attach

        Raises:
            CardRefused, TokenRefused, ParameterRefused: it was not attached.
            TooManyCards: the customer has as many as Stripe allows; it was not attached.
            LookFirst: retrieve it: it is attached already, or was used or detached before.
            CustomerGone: Stripe did not find the customer; `retrieve` confirms it.
            KeyMismatch: the key was used with other parameters.
        """
        _require_real(payment_method)
        params = {"customer": customer_id}
        read = marks.payment_method_of(customer_id, payment_method)
        path = path_to("payment_methods", payment_method, "attach")
        return self._exchanges.post(calls.ATTACH, path, params, idempotency_key, timeout, read)

    def detach(self, payment_method: str, *, timeout: float) -> PaymentMethod:
        """Detach a PaymentMethod from its customer; it cannot be attached again.

        https://docs.stripe.com/api/payment_methods/detach

        Raises:
            LookFirst, TokenRefused: it is not attached, or does not exist.
            ParameterRefused: nothing was changed.
        """
        read = marks.payment_method_of(None, payment_method)
        path = path_to("payment_methods", payment_method, "detach")
        return self._exchanges.post(calls.DETACH, path, {}, None, timeout, read)

    def retrieve(self, customer_id: str, *, timeout: float) -> Customer:
        """Retrieve a customer as it is now.

        https://docs.stripe.com/api/customers/retrieve

        Raises:
            CustomerGone: it was deleted.
            CustomerUnknown: this account and mode never had it.
        """
        read = marks.customer(customer_id)
        return self._exchanges.get(calls.RETRIEVE, path_to("customers", customer_id), timeout, read)

    def retrieve_payment_method(
        self, payment_method: str, *, timeout: float
    ) -> PaymentMethod | None:
        """Retrieve a PaymentMethod as it is now, or None if this account does not have it.

        One that was used or detached before looks like one that was never used.
        https://docs.stripe.com/api/payment_methods/retrieve
        """
        read = marks.payment_method(payment_method)
        path = path_to("payment_methods", payment_method)
        return self._exchanges.find(calls.RETRIEVE_PM, path, timeout, read)

    def retrieve_token(self, token: str, *, timeout: float) -> Token | None:
        """Retrieve a token, to see whether it was used, or None if this account does not have it.

        https://docs.stripe.com/api/tokens/retrieve
        """
        path = path_to("tokens", token)
        return self._exchanges.find(calls.RETRIEVE_TOKEN, path, timeout, marks.token(token))

    def created_between(self, first: float, last: float, *, timeout: Timeout) -> Iterator[Customer]:
        """Yield the customers created in a span of time, in seconds since the epoch.

        The list is up to date at once, unlike the search, which lags.
        https://docs.stripe.com/api/customers/list
        """
        params = {"created": {"gte": int(first), "lte": int(last) + 1}}
        return self._exchanges.pages(
            calls.LIST, path_to("customers"), params, timeout, marks.customer()
        )

    def list_payment_methods(self, customer_id: str, *, timeout: float) -> Iterator[PaymentMethod]:
        """Yield what is attached to a customer, the newest first.

        https://docs.stripe.com/api/payment_methods/customer_list

        Raises:
            CustomerUnknown: this account does not have the customer, or it was deleted.
        """
        read = marks.payment_method_of(customer_id)
        path = path_to("customers", customer_id, "payment_methods")
        return self._exchanges.pages(calls.LIST_PMS, path, {}, timeout, read)

    def delete(self, customer_id: str, *, timeout: float) -> None:
        """Delete a customer, with its cards, for good.

        https://docs.stripe.com/api/customers/delete

        Raises:
            CustomerGone: Stripe did not find the customer; it is deleted already, or unknown.
        """
        read = marks.deleted_customer(customer_id)
        path = path_to("customers", customer_id)
        self._exchanges.get(calls.DELETE, path, timeout, read, method="delete")


def _require_real(payment_method: str) -> None:
    if payment_method.startswith(TEST_PAYMENT_METHODS):
        raise TokenRefused(
            "Stripe's test ids of PaymentMethods cannot be saved. Make a PaymentMethod from a test"
            " token.",
            code="resource_missing",
        )
