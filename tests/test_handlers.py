"""The operations, over a real socket.

Saving is tested in depth in `tests/customers`, `tests/faults`.
"""

import contextlib
import dataclasses
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from support.serving import Caller, Partner, Service

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.storage.database import Database
from app.storage.tables import users

NAMES = {"email": "ada@mail.example", "given_name": "Ada", "family_name": "Lovelace"}


@pytest.mark.both_databases
def test_user_without_a_card_has_no_stripe_info(caller: Caller) -> None:
    """The names are those of the JWT."""
    response = caller.get_user(**NAMES)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {
        "external_uid": "user-1",
        "is_test_user": False,
        "email": "ada@mail.example",
        "first_name": "Ada",
        "last_name": "Lovelace",
    }


def test_user_without_names_has_none(caller: Caller) -> None:
    """Names that the JWT lacks, or has in an unusable form, are left out."""
    bare = {"external_uid": "user-1", "is_test_user": False}
    assert caller.get_user().json() == bare
    assert caller.get_user(email="no address", given_name="", family_name=7).json() == bare


@pytest.mark.both_databases
def test_user_with_a_card_has_the_customer(caller: Caller) -> None:
    """And the time of the last save, which each further save updates."""
    began = time.time() - 1
    customer_id = caller.save("tok_visa").json()["customer_id"]
    found = caller.get_user().json()["stripe_info"]
    assert found["stripe_customer_id"] == customer_id
    updated = datetime.fromisoformat(found["last_updated"])
    assert updated.tzinfo == UTC
    assert began - 1 <= updated.timestamp() <= time.time() + 1
    assert "stripe_info" not in caller.get_user("user-2").json()


def test_payment_method_is_saved(caller: Caller, standin: StandIn) -> None:
    """A cloned PaymentMethod is accepted like a token, for a new user and a known one."""
    payment_method = standin.new_payment_method()
    first = caller.save(payment_method)
    assert first.status_code == 200
    assert first.json()["coord_targeted_token"] == payment_method
    second = caller.save(standin.new_payment_method())
    assert second.json()["customer_id"] == first.json()["customer_id"]
    assert caller.save(payment_method, "user-2").json()["code"] == "token_refused"
    assert caller.save("pm_unknown", "user-2").json()["code"] == "resource_missing"


def test_refused_card_leaves_the_customer_as_it_was(caller: Caller) -> None:
    caller.save("tok_visa")
    before = caller.get_user().json()
    assert caller.save("tok_chargeDeclined").status_code == 402
    assert caller.get_user().json() == before


def test_test_user_may_read_and_has_no_stripe_info(caller: Caller) -> None:
    """Even if the same subject has saved a card with another JWT."""
    caller.save("tok_visa")
    assert caller.get_user(is_test_user=True).json() == {
        "external_uid": "user-1",
        "is_test_user": True,
    }


def test_head_is_answered_as_get_is(caller: Caller) -> None:
    """RFC 9110, section 9.3.2: without a body."""
    response = caller.get_user(method="HEAD")
    assert (response.status_code, response.content) == (200, b"")


def test_credentials_are_required(caller: Caller, database: Database) -> None:
    other = Partner(database, "Bolt")
    assert caller.get_user(access_key="coord_ak_no").json()["code"] == "invalid_access_key"
    assert caller.get_user(jwt="e30.e30.e30").json()["code"] == "invalid_user_token"
    assert caller.get_user(jwt=other.jwt()).json()["code"] == "partner_mismatch"
    assert caller.get_user(params={"more": "1"}).json()["code"] == "invalid_request"


def test_reading_writes_nothing_and_does_not_call_stripe(
    settings: Settings, partner: Partner, database: Database, standin: StandIn
) -> None:
    """Stripe is unreachable here."""
    with Service(settings) as service, Caller(service.url, partner) as caller:
        caller.save("tok_visa")
    apart = dataclasses.replace(settings, stripe_api_base="http://127.0.0.1:1")
    with Service(apart) as service, Caller(service.url, partner) as caller:
        assert caller.get_user().json()["stripe_info"]
        assert caller.get_user("user-2").status_code == 200
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(users)).scalar() == 1


@pytest.fixture
def silent_stripe() -> Iterator[str]:
    """Return the address of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.both_databases
def test_user_is_read_while_every_place_waits_for_stripe(
    settings: Settings, partner: Partner, silent_stripe: str
) -> None:
    """Reads have places and threads of their own, also for the user whose save waits."""
    places = 4
    waiting = dataclasses.replace(
        settings,
        stripe_api_base=silent_stripe,
        stripe_timeout=15.0,
        request_timeout=15.0,
        max_in_flight=places,
    )
    with (
        Service(waiting) as service,
        Caller(service.url, partner) as caller,
        ThreadPoolExecutor(places) as threads,
        contextlib.ExitStack() as at_the_end,
    ):
        saves = [threads.submit(caller.save, "tok_visa", f"user-{n}") for n in range(places)]
        at_the_end.callback(lambda: [save.result() for save in saves])
        full = f"coord_users_in_flight {places}.0"
        while full not in caller.http.get("/metrics").text:
            assert not any(save.done() for save in saves)
            time.sleep(0.01)
        assert caller.save("tok_visa", "one-more").json()["code"] == "overloaded"
        for n in range(20):
            assert caller.get_user(f"user-{n}").status_code == 200
        assert not any(save.done() for save in saves)
