"""`coord-users reconcile` detaches the replaced cards that the service has left attached."""

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import reconcile, summaries


@pytest.fixture
def customer_id(instance: Instance, fake_stripe: FakeStripe) -> str:
    """A customer whose card was replaced, just before the service was stopped."""
    fake_stripe.account.sends = "pm"
    instance.save(fake_stripe.account.token())
    return instance.save(fake_stripe.account.token())


def test_replaced_card_that_was_left_is_detached(
    instance: Instance, fake_stripe: FakeStripe, customer_id: str
) -> None:
    assert summaries(reconcile(instance, dry=True)) == [
        ("replaced_card", "would be detached", True)
    ]
    assert len(fake_stripe.account.payment_methods.attached(customer_id)) == 2
    assert summaries(reconcile(instance)) == [("replaced_card", "detached", False)]
    [default] = fake_stripe.account.payment_methods.attached(customer_id)
    assert default.id == instance.row().payment_method_id
    assert reconcile(instance) == []
    assert instance.audit().is_clean, instance.audit()


def test_replaced_card_that_stripe_does_not_detach_is_left(
    instance: Instance, fake_stripe: FakeStripe, customer_id: str
) -> None:
    fake_stripe.fail(FAULTS["503"], times=None, method="POST")
    [found] = reconcile(instance)
    assert found.kind == "replaced_card"
    assert found.outcome.startswith("not detached: ")
    assert found.is_left
    fake_stripe.heal()
    assert summaries(reconcile(instance)) == [("replaced_card", "detached", False)]
    assert len(fake_stripe.account.payment_methods.attached(customer_id)) == 1
