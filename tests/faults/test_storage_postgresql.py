"""PostgreSQL is gone, silent, locked or deadlocked at each commit: 503, and the retry converges."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from faults.double import Double
from faults.house import House
from faults.pgproxy import PgProxy
from faults.trouble import ARROWS, Trouble, check

from app.errors import StorageUnavailable


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait long for a lock."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)


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
