"""Each success takes as few calls to Stripe as can be: one to three, by the card and the user."""

from collections.abc import Callable

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.routes import CALLS, WAYS, card

from app.customers.steps import Cards

OpenInstance = Callable[..., Instance]


@pytest.mark.parametrize(("cards", "sends", "has_customer"), [(*way,) for way in CALLS])
def test_one_success_takes_no_more_calls_than_needed(
    open_instance: OpenInstance,
    fake_stripe: FakeStripe,
    cards: Cards,
    sends: str,
    has_customer: bool,
) -> None:
    instance = open_instance(cards=cards)
    if has_customer:
        instance.save(card(fake_stripe, sends))
    before = len(fake_stripe.calls)
    instance.save(card(fake_stripe, sends))
    assert len(fake_stripe.calls) - before == CALLS[cards, sends, has_customer]
    assert len(fake_stripe.account.live()) == 1
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.parametrize(
    ("before", "now", "calls"),
    [
        ("source", "pm", 2),
        ("source", "token", 3),
        ("token", "pm", 2),
        ("token", "source", 3),
        ("pm", "token", 3),
        ("pm", "source", 3),
    ],
)
def test_change_to_another_way_takes_no_more_calls_than_needed(
    open_instance: OpenInstance, fake_stripe: FakeStripe, before: str, now: str, calls: int
) -> None:
    """A token for a customer with a default PaymentMethod becomes one, whatever the setting."""
    for way in (before, now):
        cards, sends = WAYS[way]
        sent = len(fake_stripe.calls)
        open_instance(cards=cards).save(card(fake_stripe, sends))
    assert len(fake_stripe.calls) - sent == calls
    assert len(fake_stripe.account.live()) == 1
