"""What `coord-users reconcile` reports."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "open_attempt",
    "replaced_card",
    "adopted",
    "duplicate",
    "shared",
    "dangling",
    "unowned",
    "unmarked",
]


@dataclass(frozen=True)
class Finding:
    """One disagreement between the database and Stripe.

    Attributes:
        kind: explained in the operators' README.
        is_left: whether the disagreement remains.
    """

    kind: Kind
    what: str
    outcome: str
    is_left: bool


def names(user_id: int | None, customer_id: str) -> str:
    """Return how a finding names a user's row and a customer."""
    customer = f"customer {customer_id}"
    return customer if user_id is None else f"user {user_id}, {customer}"
