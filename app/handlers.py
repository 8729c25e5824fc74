"""The API's operations: each function bears its operationId in the contract."""

from typing import Any

from flask import current_app

from app.identity.credentials import chargeable_user
from app.telemetry import trace


def post_stripe_info(stripe_info: dict[str, Any], token_info: dict[str, Any]) -> dict[str, Any]:
    """Save the user's card, and answer with the identical object and its customer."""
    user = chargeable_user(token_info)
    customers = current_app.extensions["customers"]
    token = stripe_info["coord_targeted_token"]
    customer_id = customers.save_card(user, token, trace.current().request_id)
    return {**stripe_info, "customer_id": customer_id}
