"""`coord-users installations`, and a database that is rebuilt from one of them."""

import functools

import pytest
from faults.double import Double
from faults.house import House
from support.reconciling import kinds, reconcile, silent, stray, stray_of, unpaced

from app.customers.user import user_hash
from app.errors import ConfigurationError
from app.reconciliation import comparison
from app.reconciliation.installations import Installation, claim_installation, list_installations


def test_installations_are_listed_by_their_newest_customer(house: House, double: Double) -> None:
    for age in (300, 100, 200):
        stray(double.account, "one", age=age)
    stray(double.account, "two", age=50)
    stray(double.account, age=10)
    deleted = stray(double.account, "three", age=10)
    double.account.delete(deleted)
    created = sorted(one.created for one in double.account.live() if one.metadata)
    assert list_installations(unpaced(house), silent) == [
        Installation("two", 1, created[3]),
        Installation("one", 3, created[2]),
    ]


def test_progress_is_shown(house: House, double: Double) -> None:
    for _ in range(comparison.PROGRESS):
        stray(double.account, "one")
    shown: list[str] = []
    (found,) = list_installations(unpaced(house), shown.append)
    assert found.customers == 1000
    assert shown == ["1000 customers at Stripe read"]


def test_lost_database_is_rebuilt(house: House, double: Double) -> None:
    """From another installation's customers; partners are registered before or after."""
    lost = "0" * 32
    expected = {}
    for number in range(7):
        subject = f"user-{number}"
        user = user_hash(lost, "Acme", "https://acme.example/", subject).hex()
        expected[subject] = stray(double.account, lost, user, age=number)
    claim = functools.partial(claim_installation, house.database, lost)
    found = reconcile(house, installation=lost, claim=claim)
    assert kinds(found) == ["adopted"] * 7
    assert house.database.installation() == lost
    assert reconcile(house, installation=lost, claim=claim) == []
    with House(str(house.database.engine.url), double, database=house.database) as rebuilt:
        for subject, customer_id in expected.items():
            assert rebuilt.save(double.account.token(), subject) == customer_id
        assert rebuilt.audit().is_clean, rebuilt.audit()


def test_installation_without_customers_is_not_taken(house: House, double: Double) -> None:
    """Its name may be mistyped, and nothing is changed."""
    stray(double.account, "one")
    before = house.database.installation()
    claim = functools.partial(claim_installation, house.database, "two")
    with pytest.raises(ConfigurationError, match="no customer of installation two"):
        reconcile(house, installation="two", claim=claim)
    assert house.database.installation() == before


def test_database_with_users_keeps_its_installation(house: House, double: Double) -> None:
    house.save(double.account.token())
    before = house.database.installation()
    stray(double.account, "other", "f" * 64)
    claim = functools.partial(claim_installation, house.database, "other")
    with pytest.raises(ConfigurationError, match="users of its own"):
        reconcile(house, installation="other", claim=claim)
    assert house.database.installation() == before
    # A rebuilding that was interrupted goes on.
    stray_of(house, "user-2")
    again = functools.partial(claim_installation, house.database, before)
    assert kinds(reconcile(house, installation=before, claim=again)) == ["adopted"]
