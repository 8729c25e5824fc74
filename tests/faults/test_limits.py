"""Whoever tries stolen cards is stopped: by user, by partner, for as long as the window is."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS
from sqlalchemy import text

from app.errors import CardRefused, StripeUnavailable, TokenRefused, TooManyAttempts, UsersApiError
from app.storage.tables import refusals

OpenHouse = Callable[..., House]
WINDOW = 3600.0


def be_refused(house: House, double: Double, subject: str = "user-1") -> None:
    with pytest.raises(CardRefused):
        house.save(double.account.token("card_declined"), subject)


def be_stopped(house: House, double: Double, subject: str = "user-1") -> None:
    """Stripe hears nothing of it, and the caller hears when to come again."""
    calls = len(double.calls)
    with pytest.raises(TooManyAttempts) as told:
        house.save(double.account.token(), subject)
    assert told.value.retry_after
    assert 0 < told.value.retry_after <= WINDOW
    assert len(double.calls) == calls
    assert house.audit().is_clean, house.audit()


def let_pass(house: House, seconds: float) -> None:
    """Let all refusals be so much older."""
    with house.database.writing() as connection:
        connection.execute(refusals.update().values(refused_at=refusals.c.refused_at - seconds))


def test_window_slides(open_house: OpenHouse, double: Double) -> None:
    """Each refusal counts for as long as the window is, and not from one full hour to the next."""
    house = open_house(per_user=2)
    be_refused(house, double)
    let_pass(house, WINDOW - 100)
    be_refused(house, double)
    be_stopped(house, double)
    let_pass(house, 200)
    be_refused(house, double)
    be_stopped(house, double)
    let_pass(house, WINDOW)
    house.save(double.account.token())


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_limit_of_a_partner(open_house: OpenHouse, double: Double, has_customer: bool) -> None:
    """It is that of all its users, new ones and old; each process counts those of all."""
    house, other = open_house(per_partner=3), open_house(per_partner=3)
    if has_customer:
        house.save(double.account.token(), "user-9")
    for number in range(3):
        be_refused(house if number % 2 else other, double, f"user-{number}")
    be_stopped(house, double, "user-9")
    be_stopped(other, double, "user-9")
    let_pass(house, WINDOW)
    house.save(double.account.token(), "user-9")


def test_only_refused_cards_count(open_house: OpenHouse, double: Double) -> None:
    """Not tokens that are unknown, nor what Stripe failed at."""
    house = open_house(per_user=1)
    for _ in range(3):
        with pytest.raises(TokenRefused):
            house.save("tok_unknown")
    double.fail(FAULTS["503"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token := double.account.token())
    double.heal()
    house.save(token)


def test_latest_card_is_told_again_beyond_the_limit(open_house: OpenHouse, double: Double) -> None:
    """The same request gets the same answer: it tries no card."""
    house = open_house(per_user=1)
    token = double.account.token()
    customer_id = house.save(token)
    be_refused(house, double)
    assert house.save(token) == customer_id
    be_stopped(house, double)


def test_what_is_open_is_finished_beyond_the_limit(open_house: OpenHouse, double: Double) -> None:
    """A limit that was reached meanwhile leaves no customer without its user."""
    house = open_house(per_partner=1)
    token = double.account.token()
    double.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(token)
    double.heal()
    be_refused(house, double, "user-2")
    house.save(token)
    be_stopped(house, double)


def test_limit_holds_for_many_at_once(open_house: OpenHouse, double: Double) -> None:
    """One user's cards are tried one after the other, so Stripe sees none beyond the limit."""
    houses = [open_house(call=5.0, request=20.0, lease=30.0, per_user=3) for _ in range(2)]
    houses[0].user()

    def one(number: int) -> str:
        with pytest.raises(UsersApiError) as told:
            houses[number % 2].save(double.account.token("card_declined"))
        return told.value.code

    with ThreadPoolExecutor(12) as threads:
        told = list(threads.map(one, range(12)))
    assert sorted(told) == ["card_declined"] * 3 + ["too_many_attempts"] * 9
    assert len(double.calls) == 3


def test_limit_holds_for_who_waited_for_a_refusal_to_be_written(
    postgresql_url: str, double: Double
) -> None:
    """PostgreSQL counts as of when a statement began, though it goes on with the row as it is."""
    with (
        House(postgresql_url, double, call=5.0, request=20.0, lease=30.0, per_user=1) as house,
        ThreadPoolExecutor(1) as threads,
    ):
        another: list[Future[None]] = []

        def let_another_wait() -> None:
            another.append(threads.submit(be_stopped, house, double))
            until = time.monotonic() + 20.0
            while not waits_for_a_lock(house):
                assert time.monotonic() < until

        house.crashes.pauses["refuse.before"] = let_another_wait
        be_refused(house, double)
        another[0].result(20.0)


def waits_for_a_lock(house: House) -> bool:
    """Tell whether a statement waits for another's transaction to end."""
    query = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    with house.database.engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())
