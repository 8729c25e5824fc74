"""`reconcile` and `import`, killed at each point: the next run ends as if nothing had happened."""

from pathlib import Path

import pytest
from faults import tally
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Crash, Instance
from support.interruptions import Interruption, Snapshot
from support.reconciling import (
    forget_row,
    hash_of,
    import_lines,
    line,
    mark_as_version_1,
    reconcile,
    stray,
    stray_of,
)

from app.errors import StripeUnavailable
from app.storage.tables import users

# More than any of these runs has.
MOST_POINTS = 300
# Each point takes a run or two; some of them are enough where there is little time.
STEPS = [pytest.param(1, marks=pytest.mark.long), 7]


def state(instance: Instance) -> dict[str, str | None]:
    """Return each user's customer by the user's hash, and the customers that live."""
    with instance.database.reading() as connection:
        rows = connection.execute(users.select()).all()
    stored = {bytes(row.user_hash).hex(): row.stripe_customer_id for row in rows}
    return {
        **stored,
        **{one.id: one.metadata.get("coord_user") for one in instance.fake_stripe.account.live()},
    }


def disagreements(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Prepare one of each kind."""
    fake_stripe.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(fake_stripe.account.token(), "open")
    fake_stripe.heal()
    instance.let_leases_expire()
    instance.save(fake_stripe.account.token(), "forgotten")
    forget_row(instance, "forgotten")
    stray_of(instance, "forgotten")
    instance.save(fake_stripe.account.token(), "without")
    instance.change("without", stripe_customer_id=None, token_hash=None)
    fake_stripe.account.delete(instance.save(fake_stripe.account.token(), "deleted"))
    stray_of(instance, "deleted")
    fake_stripe.account.delete(instance.save(fake_stripe.account.token(), "dangling"))
    instance.save(fake_stripe.account.token(), "later")
    stray_of(instance, "later")
    instance.save(fake_stripe.account.token(), "earlier")
    stray_of(instance, "earlier", acknowledged=-60)
    old = instance.save(fake_stripe.account.token(), "old")
    mark_as_version_1(instance, old, instance.row("old").id)
    shared = instance.save(fake_stripe.account.token(), "shared-1")
    fake_stripe.account.delete(instance.save(fake_stripe.account.token(), "shared-2"))
    for subject in ("shared-1", "shared-2"):
        instance.change(
            subject, stripe_customer_id=None, shared_customer_id=shared, token_hash=None
        )
    mark_as_version_1(instance, shared, instance.row("shared-1").id)


@pytest.fixture
def snapshot(sqlite_url: str, fake_stripe: FakeStripe) -> Snapshot:
    """Return a deployment in which the database and Stripe disagree in each way."""
    with Instance(sqlite_url, fake_stripe) as instance:
        disagreements(instance, fake_stripe)
    return Snapshot(Path(sqlite_url.removeprefix("sqlite:///")), fake_stripe.account)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("delete", [False, True])
def test_reconcile_killed_at_each_point(
    snapshot: Snapshot, fake_stripe: FakeStripe, delete: bool, step: int
) -> None:
    with snapshot.restore(fake_stripe) as instance:
        living = {one.id for one in fake_stripe.account.live()}
        reconcile(instance, delete=delete)
        again = reconcile(instance, delete=delete)
        assert {one.kind for one in again} <= {"dangling", "duplicate"}
        assert any(one.kind == "duplicate" for one in again) is not delete
        expected = state(instance)
        found = instance.audit()
        tally.forget()
        assert found.duplicates == [] or not delete
        assert found.shared == found.open == []
        assert delete or living == {one.id for one in fake_stripe.account.live()}
    for point in range(0, MOST_POINTS, step):
        with snapshot.restore(fake_stripe) as instance:
            Interruption(instance, point)
            try:
                reconcile(instance, delete=delete)
            except Crash:
                pass
            else:
                break
            finally:
                instance.stripe.close()
        with Instance(str(instance.database.engine.url), fake_stripe) as successor:
            successor.let_leases_expire()
            reconcile(successor, delete=delete)
            assert state(successor) == expected, point
    assert 30 < point < MOST_POINTS - step
    print(f"killed at {len(range(0, point, step))} points")


@pytest.mark.parametrize("step", STEPS)
def test_import_killed_at_each_point(sqlite_url: str, fake_stripe: FakeStripe, step: int) -> None:
    """And then run again, or not: what is marked by then is adopted by `reconcile`."""
    with Instance(sqlite_url, fake_stripe) as instance:
        instance.save(fake_stripe.account.token(), "user-0")
        fake_stripe.account.delete(instance.save(fake_stripe.account.token(), "user-1"))
        instance.change("user-1", stripe_customer_id=None, token_hash=None)
        customers = {f"user-{number}": stray(fake_stripe.account) for number in range(1, 4)}
        hashes = {hash_of(instance, subject).hex(): one for subject, one in customers.items()}
    lines = [line(one, subject) for subject, one in customers.items()]
    snapshot = Snapshot(Path(sqlite_url.removeprefix("sqlite:///")), fake_stripe.account)
    for point in range(0, MOST_POINTS, step):
        with snapshot.restore(fake_stripe) as instance:
            Interruption(instance, point)
            try:
                import_lines(instance, *lines)
            except Crash:
                pass
            else:
                break
        with Instance(str(instance.database.engine.url), fake_stripe) as successor:
            before = {one.id: dict(one.metadata) for one in fake_stripe.account.live()}
            reconcile(successor, delete=True)
            adopted = state(successor)
            for user, customer_id in hashes.items():
                is_marked = "coord_user" in before[customer_id]
                assert adopted.get(user) == (customer_id if is_marked else None), point
            assert not any(one.is_left for one in import_lines(successor, *lines)), point
            imported = state(successor)
            assert {user: imported[user] for user in hashes} == hashes, point
            assert reconcile(successor, delete=True) == []
    assert 15 < point < MOST_POINTS - step
    print(f"killed at {len(range(0, point, step))} points")
