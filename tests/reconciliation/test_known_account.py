"""Whether the key's account is the one on which the stored customers are."""

from typing import Any

import pytest
from faults.call_faults import FAULTS, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from sqlalchemy import insert, text
from support.plans import explained, reads_all

from app.errors import ConfigurationError
from app.reconciliation.known_account import (
    NEWEST,
    Knowledge,
    Known,
    newest_customers_known,
    require_known_account,
)
from app.storage.tables import users
from app.stripe_account.account import Customer


def known(instance: Instance) -> Knowledge:
    def retrieve(customer_id: str) -> Customer:
        return instance.stripe.retrieve(customer_id, timeout=5.0)

    return newest_customers_known(instance.database, retrieve)


def test_no_customer_is_stored(instance: Instance, fake_stripe: FakeStripe) -> None:
    instance.user()
    assert known(instance).known is Known.NOTHING_STORED
    assert fake_stripe.calls == []


@pytest.mark.parametrize("is_deleted", [True, False])
def test_one_known_customer_is_enough(
    instance: Instance, fake_stripe: FakeStripe, is_deleted: bool
) -> None:
    """A deleted one is known as well. Only the newest are read, up to the first that is known."""
    saved = [instance.save(fake_stripe.account.token(), f"user-{number}") for number in range(8)]
    for customer_id in saved[-4:]:
        del fake_stripe.account.customers[customer_id]
    fake_stripe.account.customers[saved[3]].deleted = is_deleted
    calls = len(fake_stripe.calls)
    assert known(instance).known is Known.KNOWN
    assert len(fake_stripe.calls) - calls == 5
    del fake_stripe.account.customers[saved[3]]
    assert known(instance).known is Known.NONE
    assert len(fake_stripe.calls) - calls == 5 + NEWEST


@pytest.mark.parametrize(
    "fault", [FAULTS["503"], Fault(executed=False, answer=stripe_error(401, "", None))]
)
def test_stripe_does_not_say(instance: Instance, fake_stripe: FakeStripe, fault: Any) -> None:
    """Then nothing is certain, and one call is enough to know that."""
    instance.save(fake_stripe.account.token())
    instance.save(fake_stripe.account.token(), "user-2")
    fake_stripe.fail(fault, times=None, method="GET")
    calls = len(fake_stripe.calls)
    knowledge = known(instance)
    assert knowledge.known is Known.UNREACHABLE
    assert knowledge.reason
    assert len(fake_stripe.calls) - calls == 1


def test_account_is_required(instance: Instance, fake_stripe: FakeStripe) -> None:
    customer_id = instance.save(fake_stripe.account.token())

    def retrieve(customer_id: str) -> Customer:
        return instance.stripe.retrieve(customer_id, timeout=5.0)

    assert require_known_account(instance.database, retrieve).known is Known.KNOWN
    del fake_stripe.account.customers[customer_id]
    with pytest.raises(ConfigurationError) as raised:
        require_known_account(instance.database, retrieve)
    assert "\n" not in str(raised.value)
    assert "coord-users forget" in str(raised.value)


def test_rows_without_a_customer_are_not_all_read(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users whose cards were refused by the thousand, after the last one who has a customer."""
    monkeypatch.setattr("app.reconciliation.known_account.LAST_ROWS", 100)
    instance.save(fake_stripe.account.token())
    crowd = [{"user_hash": number.to_bytes(32, "big")} for number in range(1000)]
    with instance.database.writing() as connection:
        connection.execute(insert(users).values(crowd))
        connection.execute(text("ANALYZE"))
    with explained(instance.database) as plans:
        assert known(instance).known is Known.KNOWN
    # The first query ends after the last rows, of which it reads the ids from the end.
    assert "users_by_customer" in plans[1]
    assert not reads_all(plans[1])
    fake_stripe.account.customers.clear()
    assert known(instance).known is Known.NONE
