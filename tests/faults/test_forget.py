"""A user is forgotten: the customer and the row are gone, through crashes, and may begin anew."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.double import Double
from faults.house import Crash, House
from faults.scripted import FAULTS
from sqlalchemy import func, select

from app.customers.attempt import Attempt
from app.customers.forget import find_user
from app.errors import (
    ConfigurationError,
    Misconfigured,
    StripeUnavailable,
    TokenRefused,
    UpdateInProgress,
)
from app.storage.tables import now, partners, refusals, users

OpenHouse = Callable[..., House]
POINTS = [
    f"{name}.{when}"
    for name in ("claim_to_forget", "call", "erase")
    for when in ("before", "after")
]


def rows(house: House) -> int:
    """Return how many users there are."""
    with house.database.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(users)) or 0)


def test_all_that_is_stored_is_deleted(house: House, double: Double) -> None:
    """The customer, the row and the refusals; and the same user can begin anew."""
    first = house.save(double.account.token())
    with pytest.raises(Exception, match="card"):
        house.save(double.account.token("card_declined"))
    assert house.forgetting.forget(house.row().id)
    assert rows(house) == 0
    with house.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(refusals)) == 0
    assert double.account.live() == []
    house.acknowledged.clear()
    assert house.save(double.account.token()) != first
    assert house.audit().is_clean, house.audit()


def test_erasure_that_is_not_confirmed(
    house: House, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is repeated, and finds nothing left to erase: the user is forgotten."""
    house.save(double.account.token())
    erase = house.attempts.erase

    def erase_twice(attempt: Attempt) -> None:
        erase(attempt)
        erase(attempt)

    monkeypatch.setattr(house.attempts, "erase", erase_twice)
    assert house.forgetting.forget(house.row().id)
    assert rows(house) == 0


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("heir", ["the completer", "the command", "a card"])
def test_crash_at_each_point(open_house: OpenHouse, double: Double, point: str, heir: str) -> None:
    """What was begun is finished by whatever comes next; no customer is left without a row."""
    doomed, house = open_house(), open_house()
    doomed.save(double.account.token())
    user_id = doomed.row().id
    doomed.crashes.point = point
    with pytest.raises(Crash):
        doomed.forgetting.forget(user_id)
    was_begun = rows(house) and house.row().attempt_id is not None
    house.let_leases_expire()
    if heir == "the completer":
        assert house.complete() == 0
        assert rows(house) == (0 if was_begun or point == "erase.after" else 1)
    elif heir == "the command":
        house.forgetting.forget(user_id)
        assert rows(house) == 0
    else:
        house.save(double.account.token())
        assert rows(house) == 1
    assert house.audit().is_clean, house.audit()


def test_open_attempt_is_settled_first(house: House, double: Double) -> None:
    """Else a customer could be made after its user is forgotten."""
    for fault, code in (("reset after execution", None), ("500 executed", "card_declined")):
        double.fail(FAULTS[fault], times=None)
        with pytest.raises(StripeUnavailable):
            house.save(double.account.token(code))
        double.heal()
        assert house.forgetting.forget(house.row().id)
        assert rows(house) == 0
        assert double.account.live() == []


def test_card_that_comes_meanwhile_waits_and_begins_anew(
    open_house: OpenHouse, double: Double
) -> None:
    forgetting, saving = open_house(), open_house()
    first = forgetting.save(double.account.token())
    user_id = forgetting.row().id
    with ThreadPoolExecutor(1) as threads:
        saved = []

        def save() -> None:
            saved.append(threads.submit(saving.save, double.account.token()))

        forgetting.crashes.pauses["erase.at"] = save
        assert forgetting.forgetting.forget(user_id)
        assert saved[0].result(10) != first
    assert saving.audit().is_clean, saving.audit()


def test_customer_that_is_gone_already(house: House, double: Double) -> None:
    double.account.delete(house.save(double.account.token()))
    assert house.forgetting.forget(house.row().id)
    assert rows(house) == 0


@pytest.mark.parametrize("is_live", [False, True], ids=["test mode", "live mode"])
def test_customer_that_the_account_does_not_know(
    house: House, double: Double, is_live: bool
) -> None:
    """Erased test data is forgotten; in live mode it is the wrong key, and nothing is lost."""
    house.calls._is_live = is_live
    del double.account.customers[house.save(double.account.token())]
    user_id = house.row().id
    if is_live:
        with pytest.raises(Misconfigured):
            house.forgetting.forget(user_id)
        assert rows(house) == 1
    else:
        assert house.forgetting.forget(user_id)
        assert rows(house) == 0


def test_user_without_a_customer(house: House, double: Double) -> None:
    with pytest.raises(TokenRefused):
        house.save("tok_unknown")
    assert house.forgetting.forget(house.row().id)
    assert double.calls[-1].request.method == "POST"
    assert rows(house) == 0


def test_user_who_is_not_there(house: House) -> None:
    assert not house.forgetting.forget(404)


def test_row_that_stays_leased(open_house: OpenHouse, double: Double) -> None:
    """The command gives up within the time of a request."""
    other, house = open_house(), open_house(request=0.3)
    assert other.attempts.claim(other.user(), double.account.token())
    with pytest.raises(UpdateInProgress):
        house.forgetting.forget(house.row().id)


def test_user_is_found_by_issuer_and_subject(house: House, double: Double) -> None:
    """By the partner's name as well, where several have the issuer or none has it any more."""

    def find(issuer: str, partner: str | None = None) -> int | None:
        return find_user(house.database, house.installation, issuer, "user-1", partner)

    house.save(double.account.token())
    issuer = house.user().issuer
    assert find(issuer) == find(issuer, "Acme") == house.row().id
    assert find(issuer, "Other") is None
    with pytest.raises(ConfigurationError, match="--partner"):
        find("https://nowhere.example/")
    with house.database.writing() as connection:
        connection.execute(partners.insert().values(id=99, name="Other", created_at=now()))
        connection.exec_driver_sql(
            "INSERT INTO issuers (partner_id, issuer, audience, is_test, created_at)"
            " SELECT 99, issuer, audience, is_test, created_at FROM issuers"
        )
    with pytest.raises(ConfigurationError, match="Several partners"):
        find(issuer)
