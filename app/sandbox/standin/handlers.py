"""The stand-in's operations: each function bears its operationId in openapi/stripe-standin.yaml."""

from typing import Any

from connexion import context
from flask import current_app, request

from app.sandbox.standin.account import Account, StripeProblem

Object = dict[str, Any]


def post_tokens() -> Object:
    """Make a token."""
    return _account().create_token(_params(), request.headers.get("Stripe-Account"))


def post_customers() -> Object:
    """Create a customer."""
    return _account().create_customer(_params(), _key())


def post_customer(id: str) -> Object:  # noqa: A002 - Stripe's name
    """Update a customer."""
    return _account().update_customer(id, _params(), _key())


def get_customer(id: str) -> Object:  # noqa: A002 - Stripe's name
    """Retrieve a customer."""
    return _account().retrieve_customer(id)


def delete_customer(id: str) -> Object:  # noqa: A002 - Stripe's name
    """Delete a customer."""
    return _account().delete_customer(id)


def get_customers(limit: int, starting_after: str | None = None) -> Object:
    """List customers."""
    at = request.args.get("created", type=int)
    first = request.args.get("created[gte]", 0 if at is None else at, type=int)
    last = request.args.get("created[lte]", 2**53 if at is None else at, type=int)
    return _account().list_customers(first, last, limit, starting_after)


def check_bearer(token: str) -> Object:
    """Take test keys only, and never repeat one that is not."""
    if not token.startswith(("sk_test_", "rk_test_")):
        raise StripeProblem(
            401, "The stand-in takes only keys that begin with sk_test_ or rk_test_."
        )
    return {}


def check_basic(username: str, password: str) -> Object:
    """Take the key as the name of a user, as Stripe does."""
    del password
    return check_bearer(username)


def _account() -> Account:
    account: Account = current_app.extensions["account"]
    return account


def _key() -> str:
    return request.headers.get("Idempotency-Key", "")


def _params() -> dict[str, str]:
    """Give the form's parameters; one that the contract does not name is refused, as by Stripe."""
    known = {
        one["name"].partition("[")[0]
        for one in context.operation.parameters
        if one["in"] == "formData"
    }
    for name in request.form:
        if name.partition("[")[0] not in known:
            raise StripeProblem(
                400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )
    return dict(request.form)
