"""The API's operations: each function has the operationId of the contract as its name."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from flask import Flask, current_app

from app.customers.read_user import StoredCustomers
from app.customers.save_card import Customers
from app.customers.user import User
from app.telemetry import trace
from app.times import rfc3339


class StripeInfo(TypedDict):
    """The contract's `StripeInfo`."""

    coord_targeted_token: str
    customer_id: NotRequired[str]


class UserStripeInfo(TypedDict):
    """The contract's `UserStripeInfo`."""

    stripe_customer_id: str
    last_updated: str


class UserObject(TypedDict):
    """The contract's `User`."""

    external_uid: str
    is_test_user: bool
    email: NotRequired[str]
    first_name: NotRequired[str]
    last_name: NotRequired[str]
    stripe_info: NotRequired[UserStripeInfo]


def post_stripe_info(stripe_info: StripeInfo, user: User) -> StripeInfo:
    """Save the user's card and return the identical object with the customer's id."""
    token = stripe_info["coord_targeted_token"]
    customer_id = services().customers.save_card(user, token, trace.current().request_id)
    return {**stripe_info, "customer_id": customer_id}


def get_user(user: User) -> UserObject:
    """Return the user of the JWT, with the customer that is stored."""
    found: UserObject = {"external_uid": user.subject, "is_test_user": user.is_test}
    if user.email:
        found["email"] = user.email
    if user.given_name:
        found["first_name"] = user.given_name
    if user.family_name:
        found["last_name"] = user.family_name
    if customer := services().stored_customers.get(user):
        updated = rfc3339(customer.last_updated)
        found["stripe_info"] = {"stripe_customer_id": customer.id, "last_updated": updated}
    return found


@dataclass(frozen=True)
class Services:
    """What the handlers call."""

    customers: Customers
    stored_customers: StoredCustomers

    def attach_to(self, app: Flask) -> None:
        """Let the handlers of this application find these services."""
        app.extensions[__name__] = self


def services() -> Services:
    """Return the services of the application that handles the current request."""
    found: Services = current_app.extensions[__name__]
    return found
