"""How cards are sent and saved, how many calls that takes, and which cards were saved so."""

from typing import Any

from faults.account import Account
from faults.fake_stripe import FakeStripe
from faults.instance import Instance

from app.customers.steps import Cards, Step
from app.errors import TokenRefused

# By STRIPE_CARDS, by what the caller sends and by whether the user has a customer that was made in
# the same way: the calls to Stripe for one success.
CALLS: dict[tuple[Cards, str, bool], int] = {
    ("source", "tok", False): 1,
    ("source", "tok", True): 1,
    ("source", "pm", False): 1,
    ("source", "pm", True): 2,
    ("payment_method", "tok", False): 2,
    ("payment_method", "tok", True): 3,
}
# STRIPE_CARDS and what the caller sends, by route. Where users change from one to another at
# random, a save takes as many calls as any.
WAYS: dict[str, tuple[Cards, str]] = {
    "source": ("source", "tok"),
    "token": ("payment_method", "tok"),
    "pm": ("source", "pm"),
}


def card(fake_stripe: FakeStripe, sends: str, code: str | None = None) -> str:
    """Return what a caller sends for a new card; it is refused where a `code` is given."""
    fake_stripe.account.sends = sends  # type: ignore[assignment]
    return fake_stripe.account.token(code)


def takes(route: str, has_customer: bool, calls: int) -> bool:
    """Return whether one success may take so many calls to Stripe."""
    if route == "mixed":
        return calls in CALLS.values()
    return calls == CALLS[*WAYS[route], has_customer]


def saved_cards(account: Account) -> list[str]:
    """Return what callers sent for each card that became a customer's default, in order."""
    origins = {one.id: one.origin for one in account.payment_methods.by_id.values()}
    return [
        origins.get(one.token, one.token)
        for one in account.ledger
        if one.status == 200 and one.token and one.path.startswith("/v1/customers")
    ]


def is_unfindable(row: Any) -> bool:
    """Return whether only the lost answer names the PaymentMethod that was made of a token."""
    return row.step == Step.MAKE_PM


def save_or_replace(instance: Instance, token: str, is_lost: bool) -> str:
    """Save a card, or another one if it is lost with the answer to its first step."""
    if not is_lost:
        return instance.save(token)
    try:
        return instance.save(token)
    except TokenRefused:
        account = instance.fake_stripe.account
        account.payment_methods.discard_loose()
        return instance.save(account.token())
