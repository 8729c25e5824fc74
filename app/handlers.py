"""The API's operations: each function bears the name of its operationId in the contract."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

from flask import Flask, current_app

from app.customers.save_card import Customers
from app.customers.user import User
from app.telemetry import trace


class StripeInfo(TypedDict):
    """The contract's `StripeInfo`."""

    coord_targeted_token: str
    customer_id: NotRequired[str]


def post_stripe_info(stripe_info: StripeInfo, user: User) -> StripeInfo:
    """Save the user's card and return the identical object with the customer's id."""
    token = stripe_info["coord_targeted_token"]
    customer_id = services().customers.save_card(user, token, trace.current().request_id)
    return {**stripe_info, "customer_id": customer_id}


@dataclass(frozen=True)
class Services:
    """What the handlers call."""

    customers: Customers

    def attach_to(self, app: Flask) -> None:
        """Let the handlers of this application find these services."""
        app.extensions[__name__] = self


def services() -> Services:
    """Return the services of the application that handles the current request."""
    found: Services = current_app.extensions[__name__]
    return found
