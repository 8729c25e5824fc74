"""A commit that no standby has is not a 200, also if it can be read by now."""

import threading

import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.postgresql import PostgreSql

from app.errors import StorageUnavailable

CANCEL_WAITING = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"


def test_card_of_a_cancelled_commit_is_not_acknowledged(
    postgres: PostgreSql,
    postgresql_url: str,
    fake_stripe: FakeStripe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The row is settled where it can be read, but a failover to the standby would lose it."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)
    over = threading.Event()
    token = fake_stripe.account.token()
    with Instance(postgresql_url, fake_stripe, request=4.0) as instance:
        away = postgres.setting("synchronous_standby_names", "away")
        instance.crashes.pauses["accept.before"] = away.__enter__
        canceller = threading.Thread(target=_cancel, args=(postgres, over))
        canceller.start()
        try:
            with pytest.raises(StorageUnavailable):
                instance.save(token)
            assert instance.row().stripe_customer_id is not None
            with pytest.raises(StorageUnavailable):
                instance.save(token)
        finally:
            over.set()
            canceller.join()
            away.__exit__(None, None, None)
        assert instance.save(token) == instance.row().stripe_customer_id
        assert len(fake_stripe.calls) == 1
        assert instance.audit().is_clean, instance.audit()


def _cancel(postgres: PostgreSql, over: threading.Event) -> None:
    while not over.wait(0.05):
        postgres.execute(CANCEL_WAITING)
