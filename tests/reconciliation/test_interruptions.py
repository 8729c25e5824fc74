"""`reconcile` and `import`, killed at each point: the next run ends as if nothing had happened."""

from pathlib import Path

import pytest
from faults.double import Double
from faults.house import Crash, House
from faults.scripted import FAULTS
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


def state(house: House) -> dict[str, str | None]:
    """Return each user's customer by the user's hash, and the customers that live."""
    with house.database.reading() as connection:
        rows = connection.execute(users.select()).all()
    stored = {bytes(row.user_hash).hex(): row.stripe_customer_id for row in rows}
    return {
        **stored,
        **{one.id: one.metadata.get("coord_user") for one in house.double.account.live()},
    }


def disagreements(house: House, double: Double) -> None:
    """Prepare one of each kind."""
    double.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(double.account.token(), "open")
    double.heal()
    house.let_leases_expire()
    house.save(double.account.token(), "forgotten")
    forget_row(house, "forgotten")
    stray_of(house, "forgotten")
    house.save(double.account.token(), "without")
    house.change("without", stripe_customer_id=None, token_hash=None)
    double.account.delete(house.save(double.account.token(), "deleted"))
    stray_of(house, "deleted")
    double.account.delete(house.save(double.account.token(), "dangling"))
    house.save(double.account.token(), "later")
    stray_of(house, "later")
    house.save(double.account.token(), "earlier")
    stray_of(house, "earlier", acknowledged=-60)
    old = house.save(double.account.token(), "old")
    mark_as_version_1(house, old, house.row("old").id)
    shared = house.save(double.account.token(), "shared-1")
    double.account.delete(house.save(double.account.token(), "shared-2"))
    for subject in ("shared-1", "shared-2"):
        house.change(subject, stripe_customer_id=None, shared_customer_id=shared, token_hash=None)
    mark_as_version_1(house, shared, house.row("shared-1").id)


@pytest.fixture
def snapshot(sqlite_url: str, double: Double) -> Snapshot:
    """Return a world in which the database and Stripe disagree in each way."""
    with House(sqlite_url, double) as house:
        disagreements(house, double)
    return Snapshot(Path(sqlite_url.removeprefix("sqlite:///")), double.account)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("delete", [False, True])
def test_reconcile_killed_at_each_point(
    snapshot: Snapshot, double: Double, delete: bool, step: int
) -> None:
    with snapshot.restore(double) as house:
        living = {one.id for one in double.account.live()}
        reconcile(house, delete=delete)
        again = reconcile(house, delete=delete)
        assert {one.kind for one in again} <= {"dangling", "duplicate"}
        assert any(one.kind == "duplicate" for one in again) is not delete
        expected = state(house)
        found = house.audit()
        assert found.duplicates == [] or not delete
        assert found.shared == found.open == []
        assert delete or living == {one.id for one in double.account.live()}
    for point in range(0, MOST_POINTS, step):
        with snapshot.restore(double) as house:
            Interruption(house, point)
            try:
                reconcile(house, delete=delete)
            except Crash:
                pass
            else:
                break
            finally:
                house.stripe.close()
        with House(str(house.database.engine.url), double) as successor:
            successor.let_leases_expire()
            reconcile(successor, delete=delete)
            assert state(successor) == expected, point
    assert 30 < point < MOST_POINTS - step
    print(f"killed at {len(range(0, point, step))} points")


@pytest.mark.parametrize("step", STEPS)
def test_import_killed_at_each_point(sqlite_url: str, double: Double, step: int) -> None:
    """And then run again, or not: what is marked by then is adopted by `reconcile`."""
    with House(sqlite_url, double) as house:
        house.save(double.account.token(), "user-0")
        double.account.delete(house.save(double.account.token(), "user-1"))
        house.change("user-1", stripe_customer_id=None, token_hash=None)
        customers = {f"user-{number}": stray(double.account) for number in range(1, 4)}
        hashes = {hash_of(house, subject).hex(): one for subject, one in customers.items()}
    lines = [line(one, subject) for subject, one in customers.items()]
    snapshot = Snapshot(Path(sqlite_url.removeprefix("sqlite:///")), double.account)
    for point in range(0, MOST_POINTS, step):
        with snapshot.restore(double) as house:
            Interruption(house, point)
            try:
                import_lines(house, *lines)
            except Crash:
                pass
            else:
                break
        with House(str(house.database.engine.url), double) as successor:
            before = {one.id: dict(one.metadata) for one in double.account.live()}
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
