"""A database that is restored, lost or copied costs no customer, whichever process is killed."""

from pathlib import Path

import pytest
from faults import tally
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.chance import chance_of
from support.lost_databases import Operations, read_all, write_all
from support.reconciling import kinds, reconcile

from app.storage.database import Database

# Events in one run; about a third of them are not a save.
EVENTS = 40


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(number, marks=pytest.mark.long) for number in range(1, 10))]
)
@pytest.mark.parametrize("cards", ["source", "payment_method"])
def test_random_losses(url: str, fake_stripe: FakeStripe, number: int, cards: str) -> None:
    """Restores, losses, imports and erasures, with kills at random points; SEED repeats a run."""
    chance = chance_of("losses", number, cards, url.partition(":")[0])
    operations = Operations(url, fake_stripe, chance, cards)  # type: ignore[arg-type]
    for _ in range(EVENTS):
        operations.happen()
    found = operations.end()
    # A token that was made a PaymentMethod just before a loss is not attached.
    tally.count(tally.UNFINDABLE, len(found.loose))
    found.loose.clear()
    for what, number in operations.counts.items():
        tally.count(f"losses: {what}", number)
    print(dict(operations.counts), found.counts)
    assert found.is_clean, found


def test_copied_database_takes_nothing_from_its_original(
    instance: Instance, fake_stripe: FakeStripe, tmp_path: Path
) -> None:
    """A copy of production, run with a key of the same account: customers stay production's."""
    production = {f"user-{number}": "" for number in range(4)}
    for subject in list(production)[:2]:
        production[subject] = instance.save(fake_stripe.account.token(), subject)
    url = f"sqlite:///{tmp_path}/copy.db"
    copied = Database(url)
    copied.migrate()
    write_all(copied, read_all(instance.database))
    for subject in list(production)[2:]:
        production[subject] = instance.save(fake_stripe.account.token(), subject)
    living = {one.id for one in fake_stripe.account.live()}
    with Instance(url, fake_stripe, database=copied) as copy:
        assert kinds(reconcile(copy, delete=True)) == ["adopted", "adopted"]
        assert reconcile(copy, delete=True) == []
    copied.close()
    assert {one.id for one in fake_stripe.account.live()} == living == set(production.values())
    assert reconcile(instance, delete=True) == []
    assert instance.audit().is_clean, instance.audit()
