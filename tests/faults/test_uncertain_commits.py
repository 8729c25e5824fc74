"""A commit that no standby has is not a 200, also if it can be read by now."""

import threading

import pytest
from faults.double import Double
from faults.house import House
from support.postgresql import PostgreSql

from app.errors import StorageUnavailable

CANCEL_WAITING = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"


def test_card_of_a_cancelled_commit_is_not_acknowledged(
    postgres: PostgreSql, postgresql_url: str, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is settled where it can be read, but a failover to the standby would lose it."""
    monkeypatch.setattr("app.storage.database.TIMEOUT", 1)
    over = threading.Event()
    token = double.account.token()
    with House(postgresql_url, double, request=4.0) as house:
        away = postgres.setting("synchronous_standby_names", "away")
        house.crashes.pauses["accept.before"] = away.__enter__
        canceller = threading.Thread(target=_cancel, args=(postgres, over))
        canceller.start()
        try:
            with pytest.raises(StorageUnavailable):
                house.save(token)
            assert house.row().stripe_customer_id is not None
            with pytest.raises(StorageUnavailable):
                house.save(token)
        finally:
            over.set()
            canceller.join()
            away.__exit__(None, None, None)
        assert house.save(token) == house.row().stripe_customer_id
        assert len(double.calls) == 1
        assert house.audit().is_clean, house.audit()


def _cancel(postgres: PostgreSql, over: threading.Event) -> None:
    while not over.wait(0.05):
        postgres.execute(CANCEL_WAITING)
