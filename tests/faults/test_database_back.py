"""The database is away when an outcome is known: it is stored as soon as the database is back."""

import contextlib
import threading
import time

import psycopg
import pytest
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.pgproxy import PgProxy

from app.errors import CardRefused

# How long the database is away, and by when the outcome is stored, in seconds: 2 s after it on a
# machine with time to spare, and in any case long before a lease of 25 s ends.
AWAY, STORED = 1.5, 12.0


@pytest.mark.parametrize("transition", ["accept", "refuse"])
def test_outcome_is_stored_once_the_database_is_back(
    postgresql_url: str, proxy: PgProxy, fake_stripe: FakeStripe, transition: str
) -> None:
    """By the same request, which has called Stripe once."""
    name = str(psycopg.conninfo.conninfo_to_dict(postgresql_url)["dbname"])
    lasting = contextlib.ExitStack()
    back = threading.Timer(AWAY, lasting.close)

    def lose_database() -> None:
        lasting.enter_context(proxy.gone())
        back.start()

    with Instance(proxy.url(name), fake_stripe, call=20.0, request=25.0, lease=25.0) as instance:
        instance.crashes.pauses[f"{transition}.at"] = lose_database
        token = fake_stripe.account.token("card_declined" if transition == "refuse" else None)
        began = time.monotonic()
        with pytest.raises(CardRefused) if transition == "refuse" else contextlib.nullcontext():
            instance.save(token)
        assert AWAY < time.monotonic() - began < STORED
        back.join()
        assert instance.row().attempt_id is None
        assert len(fake_stripe.calls) == 1
        assert instance.audit().is_clean, instance.audit()
