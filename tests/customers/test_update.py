"""The main job: a token becomes a customer, once for each user."""

import pytest
from sqlalchemy import select
from support.serving import Caller, Partner, Service

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.storage.database import Database
from app.storage.tables import users

pytestmark = pytest.mark.both_databases


def test_token_becomes_a_customer(caller: Caller, standin: StandIn, database: Database) -> None:
    """A 200 is the identical object with the customer's id, and the id is stored."""
    token = standin.new_token()
    answer = caller.save(token)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    customer_id = answer.json()["customer_id"]
    assert answer.json() == {"coord_targeted_token": token, "customer_id": customer_id}
    with database.reading() as connection:
        row = connection.execute(select(users)).one()
    assert row.stripe_customer_id == customer_id
    assert row.attempt_id is None
    assert row.attempt_token is None


def test_same_token_gives_the_same_answer(caller: Caller, standin: StandIn) -> None:
    """The latest token, sent again, does not reach Stripe: it would refuse a used token."""
    token = standin.new_token()
    first = caller.save(token)
    again = caller.save(token)
    assert again.status_code == 200
    assert again.json() == first.json()


def test_second_card_goes_to_the_same_customer(caller: Caller, standin: StandIn) -> None:
    """A user has one customer, whatever the number of cards."""
    first = caller.save(standin.new_token()).json()
    second = caller.save(standin.new_token()).json()
    assert second["customer_id"] == first["customer_id"]


def test_older_token_is_refused(caller: Caller, standin: StandIn) -> None:
    """Only the latest token is remembered; an older one goes to Stripe, which refuses it."""
    older = standin.new_token()
    caller.save(older)
    caller.save(standin.new_token())
    answer = caller.save(older)
    assert answer.status_code == 422
    assert answer.json()["code"] == "token_already_used"


def test_users_have_customers_of_their_own(caller: Caller, standin: StandIn) -> None:
    """Two subjects are two users."""
    first = caller.save(standin.new_token(), "user-1").json()
    second = caller.save(standin.new_token(), "user-2").json()
    assert first["customer_id"] != second["customer_id"]


def test_same_subject_of_two_issuers_is_two_users(
    settings: Settings, database: Database, standin: StandIn
) -> None:
    """A user is one issuer and one subject."""
    ids = set()
    with Service(settings) as service:
        for name in ("Acme", "Bolt"):
            with Caller(service.url, Partner(database, name)) as caller:
                ids.add(caller.save(standin.new_token(), "user-1").json()["customer_id"])
    assert len(ids) == 2


def test_refused_card_leaves_the_customer_alone(
    caller: Caller, standin: StandIn, database: Database
) -> None:
    """The stored id and the latest token stay as they were."""
    token = standin.new_token()
    first = caller.save(token)
    assert caller.save("tok_chargeDeclined").status_code == 402
    assert caller.save(token).json() == first.json()
