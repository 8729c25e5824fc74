"""`coord-users reconcile`: customers whose metadata cannot be written."""

from typing import Any

from faults.call_faults import Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import (
    mark_as_version_1,
    reconcile,
)


def test_customer_that_stripe_does_not_let_mark_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """A customer has at most 50 names in its metadata."""
    mark_as_version_1(instance, instance.save(fake_stripe.account.token()), instance.row().id)
    fake_stripe.fail(
        Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata")), times=None
    )
    found = reconcile(instance)
    assert [(one.kind, one.is_left) for one in found] == [("unmarked", True)]


def test_customer_that_is_deleted_before_it_is_marked(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    customer_id = instance.save(fake_stripe.account.token())
    mark_as_version_1(instance, customer_id, instance.row().id)
    set_metadata = instance.stripe.set_metadata

    def deleted_before(*args: Any, **options: Any) -> Any:
        fake_stripe.account.delete(customer_id)
        return set_metadata(*args, **options)

    instance.stripe.set_metadata = deleted_before  # type: ignore[method-assign]
    assert reconcile(instance) == []
