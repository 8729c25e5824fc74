"""The database is gone, full, locked or deadlocked at each commit: 503, and the retry converges."""

import contextlib
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from faults.double import Double
from faults.house import House
from faults.pgproxy import PgProxy
from faults.scripted import FAULTS
from sqlalchemy.engine import make_url

from app.errors import CardRefused, StorageUnavailable, StripeUnavailable, UsersApiError

ARROWS = ("claim", "take_over", "renew", "restart", "accept", "refuse", "withdraw", "release")
# What a request is answered if the trouble is over in time: each transition is stored again, for a
# claim only if its outcome is unknown.
STORE = {
    "claim": None,
    "take_over": None,
    "renew": None,
    "restart": None,
    "accept": None,
    "refuse": CardRefused,
    "withdraw": StripeUnavailable,
    "release": StripeUnavailable,
}
Trouble = Callable[[], contextlib.AbstractContextManager[None]]


def arrive_at(house: House, double: Double, arrow: str) -> str:
    """Script Stripe so that the next request passes the arrow; gives its token."""
    token = double.account.token("card_declined" if arrow == "refuse" else None)
    if arrow == "take_over":
        double.fail(FAULTS["reset after execution"], times=None)
        with pytest.raises(StripeUnavailable):
            house.save(token)
        double.heal()
    elif arrow == "renew":
        # Not a reset: libcurl itself repeats what a kept connection did not carry.
        double.fail(FAULTS["503 executed"])
    elif arrow == "restart":
        double.fail(FAULTS["500 kept"])
    elif arrow == "release":
        double.fail(FAULTS["reset after execution"], times=None)
    elif arrow == "withdraw":
        double.fail(FAULTS["429"])
    return token


def check(
    house: House,
    double: Double,
    has_customer: bool,
    arrow: str,
    point: str,
    trouble: Trouble,
    *,
    is_brief: bool = False,
) -> None:
    """Meet trouble at a transition, and recover from it."""
    house.save(double.account.token(), "somebody else")
    before = house.save(double.account.token()) if has_customer else None
    token = arrive_at(house, double, arrow)
    with contextlib.ExitStack() as lasting:
        house.crashes.pauses[f"{arrow}.{point}"] = lambda: lasting.enter_context(trouble())
        expected = STORE.get(arrow) if is_brief and arrow in STORE else StorageUnavailable
        with pytest.raises(expected) if expected else contextlib.nullcontext():
            house.save(token)
    assert not house.crashes.pauses
    double.heal()
    house.let_leases_expire()
    if arrow == "refuse":
        with pytest.raises(CardRefused):
            house.save(token)
        assert house.row().stripe_customer_id == before
        token = double.account.token()
    customer_id = house.save(token)
    assert before in (None, customer_id)
    assert len(double.account.live()) == 2
    assert house.audit().is_clean, house.audit()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for a lock."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)


# SQLite.


def lock_file(path: str) -> Trouble:
    """Another process writes and does not come to an end."""

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("begin immediate")
        try:
            yield
        finally:
            other.execute("rollback")
            other.close()

    return locked


def fill_disk(path: str) -> Trouble:
    """No file can grow."""

    @contextlib.contextmanager
    def full() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = os.path.getsize(f"{path}-wal")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("arrow", ARROWS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("trouble", ["locked", "full"])
def test_trouble_at_each_commit_to_sqlite(
    sqlite_url: str, double: Double, arrow: str, has_customer: bool, trouble: str
) -> None:
    """Locked by another process, or with no space left."""
    path = make_url(sqlite_url).database or ""
    with House(sqlite_url, double, call=0.2, request=3.0) as house:
        if trouble == "locked":
            check(house, double, has_customer, arrow, "at", lock_file(path))
        else:
            check(house, double, has_customer, arrow, "before", fill_disk(path))


def test_failed_commit_to_sqlite_leaves_no_transaction_open(
    sqlite_url: str, double: Double
) -> None:
    """What could not be committed is rolled back: nobody is locked out, nothing appears later."""
    path = make_url(sqlite_url).database or ""
    with House(sqlite_url, double) as house, House(sqlite_url, double) as other:
        house.save(double.account.token())
        with contextlib.ExitStack() as lasting:
            house.crashes.pauses["claim.before"] = lambda: lasting.enter_context(fill_disk(path)())
            with pytest.raises(StorageUnavailable):
                house.save(double.account.token(), "user-2")
        other.save(double.account.token(), "user-3")
        house.save(double.account.token(), "user-4")
        with other.database.reading() as connection:
            subjects = connection.exec_driver_sql("select subject from users").scalars().all()
        assert sorted(subjects) == ["user-1", "user-3", "user-4"]


def test_sqlite_file_gone_and_back(sqlite_url: str, double: Double) -> None:
    """Its folder is not there, as with a disk that is not mounted."""
    folder = Path(make_url(sqlite_url).database or "").parent
    with House(sqlite_url, double) as house:
        token = double.account.token()
        house.user()
        house.database.engine.dispose()
        user = house.user()
        house.database.engine.dispose()
        moved = folder.rename(folder.with_name("elsewhere"))
        with pytest.raises(StorageUnavailable):
            house.customers.save_card(user, token)
        moved.rename(folder)
        house.save(token)
        assert house.audit().is_clean, house.audit()


def test_locked_sqlite_does_not_let_requests_queue_up(
    sqlite_url: str, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the file is locked, each of many requests is answered in about its own time."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 0.5)
    monkeypatch.setattr("app.storage.deadline_queue.TIMEOUT", 0.5)
    path = make_url(sqlite_url).database or ""
    with House(sqlite_url, double, request=1.0) as house:
        users = [house.user(f"user-{number}") for number in range(12)]

        def one(number: int) -> float:
            began = time.monotonic()
            with pytest.raises(UsersApiError) as told:
                house.customers.save_card(users[number], double.account.token())
            assert told.value.code == "storage_unavailable"
            return time.monotonic() - began

        with lock_file(path)(), ThreadPoolExecutor(12) as threads:
            # One after the other they would take 6 s and more.
            assert max(threads.map(one, range(12))) < 4.0


# PostgreSQL.


def fail_commits(url: str, code: str) -> Trouble:
    """Let each commit that touches a user end in an error of the server's."""

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "create function trouble() returns trigger language plpgsql as "  # type: ignore[arg-type]
                f"$$ begin raise 'trouble' using errcode = '{code}'; end $$"
            )
            connection.execute(
                "create constraint trigger trouble after insert or update on users "
                "deferrable initially deferred for each row execute function trouble()"
            )
            try:
                yield
            finally:
                connection.execute("drop function trouble cascade")

    return failing


def lock_rows(url: str) -> Trouble:
    """Another session holds the users and does not come to an end."""

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        with psycopg.connect(url) as connection:
            connection.execute("lock table users in exclusive mode")
            yield
            connection.rollback()

    return locked


def cut_commit(proxy: PgProxy, when: str) -> Trouble:
    """End the connection while it commits."""

    @contextlib.contextmanager
    def cut() -> Iterator[None]:
        proxy.cut = when  # type: ignore[assignment]
        yield
        assert not proxy.cut

    return cut


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("arrow", ARROWS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize(
    "trouble", ["deadlock", "full", "locked", "gone", "cut before", "cut after"]
)
def test_trouble_at_each_commit_to_postgresql(
    postgresql_url: str,
    proxy: PgProxy,
    double: Double,
    arrow: str,
    has_customer: bool,
    trouble: str,
) -> None:
    """An error at the commit, a lock that is held, no server, a connection that ends in between."""
    troubles: dict[str, tuple[str, Trouble]] = {
        "deadlock": ("at", fail_commits(postgresql_url, "40P01")),
        "full": ("at", fail_commits(postgresql_url, "53100")),
        "locked": ("at", lock_rows(postgresql_url)),
        "gone": ("at", proxy.gone),
        "cut before": ("before", cut_commit(proxy, "before")),
        "cut after": ("before", cut_commit(proxy, "after")),
    }
    name = psycopg.conninfo.conninfo_to_dict(postgresql_url)["dbname"]
    with House(proxy.url(str(name)), double, call=0.2, request=3.0) as house:
        is_brief = trouble.startswith("cut")
        check(house, double, has_customer, arrow, *troubles[trouble], is_brief=is_brief)


# Fires before the trigger of PostgreSQL's own that looks for the issuer.
GATE = """
    create function wait_at_gate() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(1); return null; end $$;
    create trigger a_gate after insert on users for each row execute function wait_at_gate();
"""
WAITING = """
    select 1 from pg_stat_activity
    where wait_event_type = 'Lock' and datname = current_database()
"""


def test_deadlock_with_another_session(postgresql_url: str, double: Double) -> None:
    """Two wait for each other in earnest; PostgreSQL ends ours, which finds it out first."""
    with (
        House(postgresql_url, double, request=10.0) as house,
        ThreadPoolExecutor(2) as threads,
        psycopg.connect(postgresql_url, autocommit=True) as gate,
        psycopg.connect(postgresql_url) as other,
    ):
        user, token = house.user(), double.account.token()

        def waiting(number: int) -> None:
            until = time.monotonic() + 30
            while len(gate.execute(WAITING).fetchall()) < number:
                assert time.monotonic() < until

        gate.execute(GATE)
        gate.execute("select pg_advisory_lock(1)")
        other.execute("set deadlock_timeout = '1h'")
        other.execute("select * from issuers for update")
        # Its row is in, and it has yet to ask for its issuer's.
        ours = threads.submit(house.customers.save_card, user, token)
        waiting(1)
        threads.submit(
            other.execute,
            "insert into users (issuer_id, subject) values (%s, %s) on conflict do nothing",
            (user.issuer_id, user.subject),
        )
        waiting(2)
        gate.execute("select pg_advisory_unlock(1)")
        error = ours.exception(30)
        assert isinstance(error, StorageUnavailable)
        assert "DeadlockDetected" in str(error.inner) or "deadlock" in str(error.inner)
        other.rollback()
        house.save(token)
        assert house.audit().is_clean, house.audit()


def test_silent_postgresql_holds_nobody_for_ever(
    postgresql_url: str, proxy: PgProxy, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes statements and answers nothing is as good as gone: 503, in time."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)
    name = psycopg.conninfo.conninfo_to_dict(postgresql_url)["dbname"]
    with House(proxy.url(str(name)), double, request=1.0) as house, ThreadPoolExecutor(1) as pool:
        house.save(double.account.token())
        user, token = house.user(), double.account.token()
        with proxy.silent():
            pending = pool.submit(house.customers.save_card, user, token)
            try:
                error = pending.exception(timeout=30.0)
            except TimeoutError:
                error = None
        assert isinstance(error, StorageUnavailable)
        house.let_leases_expire()
        house.save(token)
        assert house.audit().is_clean, house.audit()
