"""How long a request waits for a Stripe that says nothing."""

from collections.abc import Callable

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance

from app.errors import StripeUnavailable
from app.stripe_account.account import OutcomeUnknown


def test_timeouts_are_spread_and_leave_time_to_respond(
    open_instance: Callable[..., Instance], fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that arrive together do not all time out at the same moment, nor too late."""
    instance = open_instance(call=10.0, request=4.0)
    timeouts: list[float] = []

    def silent(*_: object, timeout: float, **__: object) -> None:
        timeouts.append(timeout)
        raise OutcomeUnknown("silence")

    monkeypatch.setattr(instance.stripe, "create_customer", silent)
    firsts = []
    for number in range(20):
        timeouts.clear()
        with pytest.raises(StripeUnavailable):
            instance.save(fake_stripe.account.token(), f"user-{number}")
        firsts.append(timeouts[0])
    assert max(firsts) <= instance.request * 0.9
    assert max(firsts) - min(firsts) > 0.1
