"""A SQLite file is gone, full or locked at each commit: 503, and the retry converges."""

import contextlib
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.database_faults import CARDS, TRANSITIONS, DatabaseFault, check
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from sqlalchemy.engine import make_url

from app.errors import StorageUnavailable, UsersApiError


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts for locks."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)


def lock_file(path: str) -> DatabaseFault:
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


def fill_disk(path: str) -> DatabaseFault:
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
@pytest.mark.parametrize("transition", TRANSITIONS)
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
@pytest.mark.parametrize("fault", ["locked", "full"])
def test_fault_at_each_commit_to_sqlite(
    sqlite_url: str, fake_stripe: FakeStripe, transition: str, has_customer: bool, fault: str
) -> None:
    """Locked by another process, or with no space left."""
    path = make_url(sqlite_url).database or ""
    with Instance(
        sqlite_url, fake_stripe, call=0.2, request=3.0, cards=CARDS.get(transition, "source")
    ) as instance:
        if fault == "locked":
            check(instance, fake_stripe, has_customer, transition, "at", lock_file(path))
        else:
            check(instance, fake_stripe, has_customer, transition, "before", fill_disk(path))


def test_failed_commit_to_sqlite_leaves_no_transaction_open(
    sqlite_url: str, fake_stripe: FakeStripe
) -> None:
    """It is rolled back: later transactions are not blocked, and its rows never appear."""
    path = make_url(sqlite_url).database or ""
    with Instance(sqlite_url, fake_stripe) as instance, Instance(sqlite_url, fake_stripe) as other:
        instance.save(fake_stripe.account.token())
        with contextlib.ExitStack() as lasting:
            instance.crashes.pauses["claim.before"] = lambda: lasting.enter_context(
                fill_disk(path)()
            )
            with pytest.raises(StorageUnavailable):
                instance.save(fake_stripe.account.token(), "user-2")
        other.save(fake_stripe.account.token(), "user-3")
        instance.save(fake_stripe.account.token(), "user-4")
        with other.database.reading() as connection:
            subjects = connection.exec_driver_sql("select subject from users").scalars().all()
        assert sorted(subjects) == ["user-1", "user-3", "user-4"]


def test_sqlite_file_gone_and_back(sqlite_url: str, fake_stripe: FakeStripe) -> None:
    """Its folder is not there, as with a disk that is not mounted."""
    folder = Path(make_url(sqlite_url).database or "").parent
    with Instance(sqlite_url, fake_stripe) as instance:
        token = fake_stripe.account.token()
        instance.user()
        instance.database.engine.dispose()
        user = instance.user()
        instance.database.engine.dispose()
        moved = folder.rename(folder.with_name("elsewhere"))
        with pytest.raises(StorageUnavailable):
            instance.customers.save_card(user, token)
        moved.rename(folder)
        instance.save(token)
        assert instance.audit().is_clean, instance.audit()


def test_locked_sqlite_does_not_let_requests_queue_up(
    sqlite_url: str, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many requests gets its response within its own timeout."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 0.5)
    monkeypatch.setattr("app.storage.deadline_queue.TIMEOUT", 0.5)
    path = make_url(sqlite_url).database or ""
    with Instance(sqlite_url, fake_stripe, request=1.0) as instance:
        users = [instance.user(f"user-{number}") for number in range(12)]

        def one(number: int) -> float:
            began = time.monotonic()
            with pytest.raises(UsersApiError) as error:
                instance.customers.save_card(users[number], fake_stripe.account.token())
            assert error.value.code == "storage_unavailable"
            return time.monotonic() - began

        with lock_file(path)(), ThreadPoolExecutor(12) as threads:
            # One after the other they would take 6 s and more.
            assert max(threads.map(one, range(12))) < 4.0
