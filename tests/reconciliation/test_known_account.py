"""Whether the key's account is the one on which the stored customers are."""

from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
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


def known(house: House) -> Knowledge:
    def retrieve(customer_id: str) -> Customer:
        return house.stripe.retrieve(customer_id, timeout=5.0)

    return newest_customers_known(house.database, retrieve)


def test_no_customer_is_stored(house: House, double: Double) -> None:
    house.user()
    assert known(house).known is Known.NOTHING_STORED
    assert double.calls == []


@pytest.mark.parametrize("is_deleted", [True, False])
def test_one_known_customer_is_enough(house: House, double: Double, is_deleted: bool) -> None:
    """A deleted one is known as well. Only the newest are read, up to the first that is known."""
    saved = [house.save(double.account.token(), f"user-{number}") for number in range(8)]
    for customer_id in saved[-4:]:
        del double.account.customers[customer_id]
    double.account.customers[saved[3]].deleted = is_deleted
    calls = len(double.calls)
    assert known(house).known is Known.KNOWN
    assert len(double.calls) - calls == 5
    del double.account.customers[saved[3]]
    assert known(house).known is Known.NONE
    assert len(double.calls) - calls == 5 + NEWEST


@pytest.mark.parametrize(
    "fault", [FAULTS["503"], Fault(executed=False, answer=stripe_error(401, "", None))]
)
def test_stripe_does_not_say(house: House, double: Double, fault: Any) -> None:
    """Then nothing is certain, and one call is enough to know that."""
    house.save(double.account.token())
    house.save(double.account.token(), "user-2")
    double.fail(fault, times=None, method="GET")
    calls = len(double.calls)
    knowledge = known(house)
    assert knowledge.known is Known.UNREACHABLE
    assert knowledge.reason
    assert len(double.calls) - calls == 1


def test_account_is_required(house: House, double: Double) -> None:
    customer_id = house.save(double.account.token())

    def retrieve(customer_id: str) -> Customer:
        return house.stripe.retrieve(customer_id, timeout=5.0)

    assert require_known_account(house.database, retrieve).known is Known.KNOWN
    del double.account.customers[customer_id]
    with pytest.raises(ConfigurationError) as raised:
        require_known_account(house.database, retrieve)
    assert "\n" not in str(raised.value)
    assert "coord-users forget" in str(raised.value)


def test_rows_without_a_customer_are_not_all_read(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users whose cards were refused by the thousand, after the last one who has a customer."""
    monkeypatch.setattr("app.reconciliation.known_account.LAST_ROWS", 100)
    house.save(double.account.token())
    crowd = [{"user_hash": number.to_bytes(32, "big")} for number in range(1000)]
    with house.database.writing() as connection:
        connection.execute(insert(users).values(crowd))
        connection.execute(text("ANALYZE"))
    with explained(house.database) as plans:
        assert known(house).known is Known.KNOWN
    # The first query ends after the last rows, of which it reads the ids from the end.
    assert "users_by_customer" in plans[1]
    assert not reads_all(plans[1])
    double.account.customers.clear()
    assert known(house).known is Known.NONE
