"""PostgreSQL is gone, silent, locked or deadlocked at each commit: 503, and the retry converges."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from faults.database_faults import CARDS, SELDOM, TRANSITIONS, DatabaseFault, check
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.pgproxy import PgProxy

from app.errors import StorageUnavailable


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts for locks."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)


def fail_commits(url: str, code: str) -> DatabaseFault:
    """Make each commit that changes `users` fail in the server."""

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "create function fault() returns trigger language plpgsql as "  # type: ignore[arg-type]
                f"$$ begin raise 'fault' using errcode = '{code}'; end $$"
            )
            connection.execute(
                "create constraint trigger fault after insert or update or delete on users "
                "deferrable initially deferred for each row execute function fault()"
            )
            try:
                yield
            finally:
                connection.execute("drop function fault cascade")

    return failing


def lock_rows(url: str) -> DatabaseFault:
    """Another session holds the users and does not come to an end."""

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        with psycopg.connect(url) as connection:
            connection.execute("lock table users in exclusive mode")
            yield
            connection.rollback()

    return locked


def cut_commit(proxy: PgProxy, when: str) -> DatabaseFault:
    """End the connection while it commits."""

    @contextlib.contextmanager
    def cut() -> Iterator[None]:
        proxy.cut = when  # type: ignore[assignment]
        yield
        assert not proxy.cut

    return cut


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "transition",
    # On SQLite all of them are in the default suite.
    [pytest.param(one, marks=pytest.mark.long if one in SELDOM else ()) for one in TRANSITIONS],
)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("fault", ["deadlock", "full", "locked", "gone", "cut before", "cut after"])
def test_fault_at_each_commit_to_postgresql(
    postgresql_url: str,
    proxy: PgProxy,
    fake_stripe: FakeStripe,
    transition: str,
    has_customer: bool,
    fault: str,
) -> None:
    """An error at the commit, a lock that is held, no server, a connection that ends in between."""
    faults: dict[str, tuple[str, DatabaseFault]] = {
        "deadlock": ("at", fail_commits(postgresql_url, "40P01")),
        "full": ("at", fail_commits(postgresql_url, "53100")),
        "locked": ("at", lock_rows(postgresql_url)),
        "gone": ("at", proxy.gone),
        "cut before": ("before", cut_commit(proxy, "before")),
        "cut after": ("before", cut_commit(proxy, "after")),
    }
    name = psycopg.conninfo.conninfo_to_dict(postgresql_url)["dbname"]
    with Instance(
        proxy.url(str(name)),
        fake_stripe,
        call=0.2,
        request=3.0,
        cards=CARDS.get(transition, "source"),
    ) as instance:
        is_brief = fault.startswith("cut")
        check(instance, fake_stripe, has_customer, transition, *faults[fault], is_brief=is_brief)


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


def test_deadlock_with_another_session(postgresql_url: str, fake_stripe: FakeStripe) -> None:
    """Two wait for each other in earnest; PostgreSQL ends ours, which finds it out first."""
    with (
        Instance(postgresql_url, fake_stripe, request=10.0) as instance,
        ThreadPoolExecutor(2) as threads,
        psycopg.connect(postgresql_url, autocommit=True) as gate,
        psycopg.connect(postgresql_url) as other,
    ):
        user, token = instance.user(), fake_stripe.account.token()

        def waiting(number: int) -> None:
            until = time.monotonic() + 30
            while len(gate.execute(WAITING).fetchall()) < number:
                assert time.monotonic() < until

        gate.execute(GATE)
        gate.execute("select pg_advisory_lock(1)")
        other.execute("set deadlock_timeout = '1h'")
        other.execute("select * from issuers for update")
        # Its row is in, and it has yet to ask for its issuer's.
        ours = threads.submit(instance.customers.save_card, user, token)
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
        instance.save(token)
        assert instance.audit().is_clean, instance.audit()


def test_silent_postgresql_ends_in_a_timeout(
    postgresql_url: str, proxy: PgProxy, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts statements and does not respond counts as unreachable: 503, in time."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)
    name = psycopg.conninfo.conninfo_to_dict(postgresql_url)["dbname"]
    with (
        Instance(proxy.url(str(name)), fake_stripe, request=1.0) as instance,
        ThreadPoolExecutor(1) as pool,
    ):
        instance.save(fake_stripe.account.token())
        user, token = instance.user(), fake_stripe.account.token()
        with proxy.silent():
            pending = pool.submit(instance.customers.save_card, user, token)
            try:
                error = pending.exception(timeout=30.0)
            except TimeoutError:
                error = None
        assert isinstance(error, StorageUnavailable)
        instance.let_leases_expire()
        instance.save(token)
        assert instance.audit().is_clean, instance.audit()
