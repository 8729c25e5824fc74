"""The stand-in's operations, named by their operationId in openapi/stripe-standin.yaml."""

from typing import Any

from connexion import context
from flask import current_app, request

from app.sandbox.standin.account import Account
from app.sandbox.standin.problems import Object, StripeProblem


def post_tokens() -> Object:
    """Make a token."""
    return _account().tokens.create(_form(), request.headers.get("Stripe-Account"))


def get_token(token: str) -> Object:
    """Retrieve a token."""
    _query()
    return _account().tokens.retrieve(token)


def post_customers() -> Object:
    """Create a customer."""
    return _account().customers.create(_form(), _key())


def post_customer(customer: str) -> Object:
    """Update a customer."""
    return _account().customers.update(customer, _form(), _key())


def get_customer(customer: str) -> Object:
    """Retrieve a customer."""
    _query()
    return _account().customers.retrieve(customer)


def delete_customer(customer: str) -> Object:
    """Delete a customer."""
    return _account().customers.delete(customer)


def get_customers() -> Object:
    """List customers."""
    params = _query()
    at = params.get("created")
    first = int(params.get("created[gte]", at or 0))
    last = int(params.get("created[lte]", at or 2**53))
    if "created[gt]" in params:
        first = max(first, int(params["created[gt]"]) + 1)
    if "created[lt]" in params:
        last = min(last, int(params["created[lt]"]) - 1)
    return _account().customers.list_created(first, last, params)


def get_customer_payment_methods(customer: str) -> Object:
    """List a customer's PaymentMethods."""
    return _account().payment_methods.list_of(customer, _query(), request.path)


def get_customer_payment_method(customer: str, payment_method: str) -> Object:
    """Retrieve a customer's PaymentMethod."""
    _query()
    return _account().payment_methods.retrieve_of(customer, payment_method)


def get_payment_methods() -> Object:
    """List a customer's PaymentMethods."""
    params = _query()
    return _account().payment_methods.list_of(params["customer"], params, request.path)


def post_payment_methods() -> Object:
    """Make a PaymentMethod."""
    account = request.headers.get("Stripe-Account")
    return _account().payment_methods.create(_form(), account, _key())


def get_payment_method(payment_method: str) -> Object:
    """Retrieve a PaymentMethod."""
    _query()
    return _account().payment_methods.retrieve(payment_method)


def attach_payment_method(payment_method: str) -> Object:
    """Attach a PaymentMethod."""
    return _account().payment_methods.attach(payment_method, _form())


def detach_payment_method(payment_method: str) -> Object:
    """Detach a PaymentMethod."""
    _form()
    return _account().payment_methods.detach(payment_method)


def check_bearer(token: str) -> Object:
    """Accept only test keys, and never repeat another one."""
    if not token.startswith(("sk_test_", "rk_test_")):
        raise StripeProblem(
            401, "The stand-in accepts only keys that begin with sk_test_ or rk_test_."
        )
    return {}


def check_basic(username: str, password: str) -> Object:
    """Accept the key as the name of a user, as Stripe does."""
    del password
    return check_bearer(username)


def _account() -> Account:
    account: Account = current_app.extensions["account"]
    return account


def _key() -> str:
    return request.headers.get("Idempotency-Key", "")


def _form() -> dict[str, str]:
    """Return the form's parameters."""
    return _known(request.form, "formData")


def _query() -> dict[str, str]:
    """Return the query's parameters."""
    return _known(request.args, "query")


def _known(sent: Any, place: str) -> dict[str, str]:
    """Return parameters; one that the contract does not name is refused, as by Stripe."""
    known = {
        one["name"].partition("[")[0] for one in context.operation.parameters if one["in"] == place
    }
    for name in sent:
        if name.partition("[")[0] not in known:
            raise StripeProblem(
                400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )
    return dict(sent)
