"""A user is forgotten: the customer and the row are gone, through crashes, and may begin anew."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Crash, Instance
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

OpenInstance = Callable[..., Instance]
POINTS = [
    f"{name}.{when}"
    for name in ("claim_to_forget", "call", "erase")
    for when in ("before", "after")
]


def rows(instance: Instance) -> int:
    """Return how many users there are."""
    with instance.database.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(users)) or 0)


def test_all_that_is_stored_is_deleted(instance: Instance, fake_stripe: FakeStripe) -> None:
    """The customer, the row and the refusals; and the same user can begin anew."""
    first = instance.save(fake_stripe.account.token())
    with pytest.raises(Exception, match="card"):
        instance.save(fake_stripe.account.token("card_declined"))
    assert instance.forgetting.forget(instance.row().id)
    assert rows(instance) == 0
    with instance.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(refusals)) == 0
    assert fake_stripe.account.live() == []
    instance.acknowledged.clear()
    assert instance.save(fake_stripe.account.token()) != first
    assert instance.audit().is_clean, instance.audit()


def test_erasure_that_is_not_confirmed(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is repeated, and finds nothing left to erase: the user is forgotten."""
    instance.save(fake_stripe.account.token())
    erase = instance.attempts.erase

    def erase_twice(attempt: Attempt) -> None:
        erase(attempt)
        erase(attempt)

    monkeypatch.setattr(instance.attempts, "erase", erase_twice)
    assert instance.forgetting.forget(instance.row().id)
    assert rows(instance) == 0


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("successor", ["the completer", "the command", "a card"])
def test_crash_at_each_point(
    open_instance: OpenInstance, fake_stripe: FakeStripe, point: str, successor: str
) -> None:
    """What was begun is finished by whatever comes next; no customer is left without a row."""
    crashing, instance = open_instance(), open_instance()
    crashing.save(fake_stripe.account.token())
    user_id = crashing.row().id
    crashing.crashes.point = point
    with pytest.raises(Crash):
        crashing.forgetting.forget(user_id)
    was_begun = rows(instance) and instance.row().attempt_id is not None
    instance.let_leases_expire()
    if successor == "the completer":
        assert instance.complete() == 0
        assert rows(instance) == (0 if was_begun or point == "erase.after" else 1)
    elif successor == "the command":
        instance.forgetting.forget(user_id)
        assert rows(instance) == 0
    else:
        instance.save(fake_stripe.account.token())
        assert rows(instance) == 1
    assert instance.audit().is_clean, instance.audit()


def test_open_attempt_is_settled_first(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Else a customer could be made after its user is forgotten."""
    for fault, code in (("reset after execution", None), ("500 executed", "card_declined")):
        fake_stripe.fail(FAULTS[fault], times=None)
        with pytest.raises(StripeUnavailable):
            instance.save(fake_stripe.account.token(code))
        fake_stripe.heal()
        assert instance.forgetting.forget(instance.row().id)
        assert rows(instance) == 0
        assert fake_stripe.account.live() == []


def test_card_that_comes_meanwhile_waits_and_begins_anew(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    forgetting, saving = open_instance(), open_instance()
    first = forgetting.save(fake_stripe.account.token())
    user_id = forgetting.row().id
    with ThreadPoolExecutor(1) as threads:
        saved = []

        def save() -> None:
            saved.append(threads.submit(saving.save, fake_stripe.account.token()))

        forgetting.crashes.pauses["erase.at"] = save
        assert forgetting.forgetting.forget(user_id)
        assert saved[0].result(10) != first
    assert saving.audit().is_clean, saving.audit()


def test_customer_that_is_gone_already(instance: Instance, fake_stripe: FakeStripe) -> None:
    fake_stripe.account.delete(instance.save(fake_stripe.account.token()))
    assert instance.forgetting.forget(instance.row().id)
    assert rows(instance) == 0


@pytest.mark.parametrize("is_live", [False, True], ids=["test mode", "live mode"])
def test_customer_that_the_account_does_not_know(
    instance: Instance, fake_stripe: FakeStripe, is_live: bool
) -> None:
    """Erased test data is forgotten; in live mode it is the wrong key, and nothing is lost."""
    instance.calls._is_live = is_live
    del fake_stripe.account.customers[instance.save(fake_stripe.account.token())]
    user_id = instance.row().id
    if is_live:
        with pytest.raises(Misconfigured):
            instance.forgetting.forget(user_id)
        assert rows(instance) == 1
    else:
        assert instance.forgetting.forget(user_id)
        assert rows(instance) == 0


def test_user_without_a_customer(instance: Instance, fake_stripe: FakeStripe) -> None:
    with pytest.raises(TokenRefused):
        instance.save("tok_unknown")
    assert instance.forgetting.forget(instance.row().id)
    assert fake_stripe.calls[-1].request.method == "POST"
    assert rows(instance) == 0


def test_user_who_is_not_there(instance: Instance) -> None:
    assert not instance.forgetting.forget(404)


def test_row_that_stays_leased(open_instance: OpenInstance, fake_stripe: FakeStripe) -> None:
    """The command gives up within the time of a request."""
    other, instance = open_instance(), open_instance(request=0.3)
    assert other.attempts.claim(other.user(), fake_stripe.account.token())
    with pytest.raises(UpdateInProgress):
        instance.forgetting.forget(instance.row().id)


def test_user_is_found_by_issuer_and_subject(instance: Instance, fake_stripe: FakeStripe) -> None:
    """By the partner's name as well, where several have the issuer or none has it any more."""

    def find(issuer: str, partner: str | None = None) -> int | None:
        return find_user(instance.database, instance.installation, issuer, "user-1", partner)

    instance.save(fake_stripe.account.token())
    issuer = instance.user().issuer
    assert find(issuer) == find(issuer, "Acme") == instance.row().id
    assert find(issuer, "Other") is None
    with pytest.raises(ConfigurationError, match="--partner"):
        find("https://nowhere.example/")
    with instance.database.writing() as connection:
        connection.execute(partners.insert().values(id=99, name="Other", created_at=now()))
        connection.exec_driver_sql(
            "INSERT INTO issuers (partner_id, issuer, audience, is_test, created_at)"
            " SELECT 99, issuer, audience, is_test, created_at FROM issuers"
        )
    with pytest.raises(ConfigurationError, match="Several partners"):
        find(issuer)
