"""`coord-users installations`, and a database that is rebuilt from one of them."""

import functools

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import kinds, reconcile, silent, stray, stray_of, unpaced

from app.customers.user import user_hash
from app.errors import ConfigurationError
from app.reconciliation import comparison
from app.reconciliation.installations import Installation, claim_installation, list_installations


def test_installations_are_listed_by_their_newest_customer(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    for age in (300, 100, 200):
        stray(fake_stripe.account, "one", age=age)
    stray(fake_stripe.account, "two", age=50)
    stray(fake_stripe.account, age=10)
    deleted = stray(fake_stripe.account, "three", age=10)
    fake_stripe.account.delete(deleted)
    created = sorted(one.created for one in fake_stripe.account.live() if one.metadata)
    assert list_installations(unpaced(instance), silent) == [
        Installation("two", 1, created[3]),
        Installation("one", 3, created[2]),
    ]


def test_progress_is_shown(instance: Instance, fake_stripe: FakeStripe) -> None:
    for _ in range(comparison.PROGRESS):
        stray(fake_stripe.account, "one")
    shown: list[str] = []
    (found,) = list_installations(unpaced(instance), shown.append)
    assert found.customers == 1000
    assert shown == ["1000 customers at Stripe read"]


def test_lost_database_is_rebuilt(instance: Instance, fake_stripe: FakeStripe) -> None:
    """From another installation's customers; partners are registered before or after."""
    lost = "0" * 32
    expected = {}
    for number in range(7):
        subject = f"user-{number}"
        user = user_hash(lost, "Acme", "https://acme.example/", subject).hex()
        expected[subject] = stray(fake_stripe.account, lost, user, age=number)
    claim = functools.partial(claim_installation, instance.database, lost)
    found = reconcile(instance, installation=lost, claim=claim)
    assert kinds(found) == ["adopted"] * 7
    assert instance.database.installation() == lost
    assert reconcile(instance, installation=lost, claim=claim) == []
    with Instance(
        str(instance.database.engine.url), fake_stripe, database=instance.database
    ) as rebuilt:
        for subject, customer_id in expected.items():
            assert rebuilt.save(fake_stripe.account.token(), subject) == customer_id
        assert rebuilt.audit().is_clean, rebuilt.audit()


def test_installation_without_customers_is_not_taken(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """Its name may be mistyped, and nothing is changed."""
    stray(fake_stripe.account, "one")
    before = instance.database.installation()
    claim = functools.partial(claim_installation, instance.database, "two")
    with pytest.raises(ConfigurationError, match="no customer of installation two"):
        reconcile(instance, installation="two", claim=claim)
    assert instance.database.installation() == before


def test_database_with_users_keeps_its_installation(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    instance.save(fake_stripe.account.token())
    before = instance.database.installation()
    stray(fake_stripe.account, "other", "f" * 64)
    claim = functools.partial(claim_installation, instance.database, "other")
    with pytest.raises(ConfigurationError, match="users of its own"):
        reconcile(instance, installation="other", claim=claim)
    assert instance.database.installation() == before
    # A rebuilding that was interrupted goes on.
    stray_of(instance, "user-2")
    again = functools.partial(claim_installation, instance.database, before)
    assert kinds(reconcile(instance, installation=before, claim=again)) == ["adopted"]
