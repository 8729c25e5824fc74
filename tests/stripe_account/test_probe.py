"""Whether a save would succeed is asked of Stripe without saving anything."""

from collections.abc import Iterator
from typing import Literal

import pytest
from support.scripted_stripe import Said, ScriptedStripe, error

from app.stripe_account.account import StripeAccount
from app.stripe_account.probe import trouble

NOTHING = error(400, code="resource_missing", param="source")
NO_TOKEN = error(400, code="resource_missing", param="card[token]")
NO_PM = error(400, code="resource_missing", param="payment_method")
MADE = {"id": "cus_1", "object": "customer", "metadata": {}}


@pytest.fixture
def account(stripe: ScriptedStripe) -> Iterator[StripeAccount]:
    opened = StripeAccount("sk_test_x", stripe.url)
    yield opened
    opened.close()


def test_all_is_well_where_stripe_only_misses_the_token(
    stripe: ScriptedStripe, account: StripeAccount
) -> None:
    """One call, by a name that cannot exist."""
    stripe.says = NOTHING
    assert trouble(account, "source", timeout=5.0) == ""
    (request,) = stripe.requests
    assert request.params == {"source": "tok_coord_users_check"}


@pytest.mark.parametrize("says", [NO_PM, error(400)])
def test_payment_methods_are_asked_for_as_well(
    stripe: ScriptedStripe, account: StripeAccount, says: Said
) -> None:
    """Both steps of a save, where tokens become PaymentMethods."""
    stripe.queue = [NO_TOKEN, says]
    assert trouble(account, "payment_method", timeout=5.0) == ""
    first, second = stripe.requests
    assert first.params == {"type": "card", "card[token]": "tok_coord_users_check"}
    assert second.params["payment_method"] == "pm_coord_users_check"


@pytest.mark.parametrize(
    ("cards", "queue", "words"),
    [
        ("source", [error(403)], "write access to Customers (rak_customer_write)"),
        ("source", [error(401)], "does not accept STRIPE_SECRET_KEY"),
        ("source", [error(400, code="parameter_unknown", param="source")], "STRIPE_CARDS"),
        ("source", [error(400, code="token_already_used")], "token_already_used"),
        ("source", [error(402, type="card_error", code="expired_card")], "expired_card"),
        ("source", [error(400, param="metadata")], "parameter metadata"),
        ("source", [error(400, param="email")], "answered 400"),
        ("source", [error(400, type="idempotency_error")], "idempotency_error"),
        ("source", [error(500, type="api_error")], "answered 500"),
        ("source", [Said(200, MADE)], "accepted a token that does not exist"),
        ("payment_method", [error(403)], "rak_payment_method_write"),
        ("payment_method", [NO_TOKEN, error(403)], "rak_customer_write"),
    ],
)
def test_trouble_is_named_in_words(
    stripe: ScriptedStripe,
    account: StripeAccount,
    cards: Literal["source", "payment_method"],
    queue: list[Said],
    words: str,
) -> None:
    stripe.queue = queue
    assert words in trouble(account, cards, timeout=5.0)


def test_stripe_out_of_reach_is_named() -> None:
    account = StripeAccount("sk_test_x", "http://127.0.0.1:1")
    assert "cannot be reached" in trouble(account, "source", timeout=5.0)
    account.close()
