"""Requests of one user at the same time, in two instances on one database.

With server processes and by the thousand: `test_load.py`.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.at_once import at_once
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.routes import saved_cards, takes

from app.customers.statements import ACCEPTED_KEPT
from app.errors import TokenRefused, UsersApiError

OpenInstance = Callable[..., Instance]


@pytest.mark.all_routes
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_same_token_at_once_is_one_update(
    open_instance: OpenInstance, fake_stripe: FakeStripe, has_customer: bool, route: str
) -> None:
    """As many calls to Stripe as one request would take, whose answer all get."""
    instances = [open_instance(call=5.0, request=20.0, lease=30.0) for _ in range(2)]
    before = instances[0].save(fake_stripe.account.token()) if has_customer else None
    instances[0].acknowledged.clear()
    fake_stripe.processing = 0.1
    calls = len(fake_stripe.calls)
    told = at_once(instances, [fake_stripe.account.token()] * 20)
    assert len(set(told)) == 1
    assert before in (None, *told)
    assert takes(route, has_customer, len(fake_stripe.calls) - calls)
    assert instances[0].audit().is_clean, instances[0].audit()


@pytest.mark.all_routes
def test_different_tokens_at_once_follow_one_another(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """One customer; each card is saved, one after the other, the last of them is the default."""
    instances = [open_instance(call=5.0, request=40.0, lease=30.0) for _ in range(2)]
    fake_stripe.processing = 0.005
    tokens = [fake_stripe.account.token() for _ in range(20)]
    told = at_once(instances, tokens)
    assert len(set(told)) == 1
    assert told[0].startswith("cus_")
    assert sorted(saved_cards(fake_stripe.account)) == sorted(tokens)
    assert instances[0].audit().is_clean, instances[0].audit()


@pytest.mark.all_routes(long=True)
def test_same_refused_token_at_once_is_one_refusal(
    open_instance: OpenInstance, fake_stripe: FakeStripe, route: str
) -> None:
    """All who sent it are told the same, and it counts once."""
    instances = [open_instance(call=5.0, request=20.0, lease=30.0, per_user=2) for _ in range(2)]
    fake_stripe.processing = 0.1
    told = at_once(instances, [fake_stripe.account.token("expired_card")] * 10)
    assert told == ["expired_card"] * 10
    assert takes(route, False, len(fake_stripe.calls))
    assert instances[0].save(fake_stripe.account.token())


@pytest.mark.all_routes(long=True)
def test_users_at_once_get_customers_of_their_own(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """No request waits for the lease of another user."""
    instances = [open_instance(call=5.0, request=20.0, lease=30.0) for _ in range(2)]
    instances[0].user()
    with ThreadPoolExecutor(20) as threads:
        ids = list(
            threads.map(
                lambda number: instances[number % 2].save(
                    fake_stripe.account.token(), f"user-{number}"
                ),
                range(40),
            )
        )
    assert len(set(ids)) == 40
    assert instances[0].audit().is_clean, instances[0].audit()


@pytest.mark.all_routes(long=True)
def test_other_card_gets_409_within_its_timeout(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """Stripe is at one card for longer than another request may last: 409, and later it works."""
    slow = open_instance(call=5.0, request=10.0, lease=10.0)
    hasty = open_instance(request=0.3)
    hasty.user()
    fake_stripe.fail(FAULTS["hangs after execution"])
    first, second = fake_stripe.account.token(), fake_stripe.account.token()
    with ThreadPoolExecutor(1) as threads:
        pending = threads.submit(slow.save, first)
        while not fake_stripe.calls:
            time.sleep(0.005)
        began = time.monotonic()
        with pytest.raises(UsersApiError) as error:
            hasty.save(second)
        assert error.value.code == "update_in_progress"
        assert error.value.retry_after
        # The first is waited for no longer than this one may last: not until its lease ends.
        assert time.monotonic() - began < 8.0
        fake_stripe.release_calls()
        assert pending.result(10) == hasty.save(second)
    assert hasty.audit().is_clean, hasty.audit()


@pytest.mark.all_routes(long=True)
@pytest.mark.parametrize("further", [1, 3], ids=["one card", "three cards"])
@pytest.mark.parametrize("outcome", ["saved", "refused", "used before"])
def test_waiting_request_gets_the_same_answer_if_other_cards_came_in_between(
    open_instance: OpenInstance, fake_stripe: FakeStripe, outcome: str, further: int
) -> None:
    """The same token sent twice at once is one update; a token that was refused is never a 200."""
    first, waiting, third = (open_instance(call=5.0, request=10.0, lease=20.0) for _ in range(3))
    first.save(fake_stripe.account.token())
    token = fake_stripe.account.token("card_declined" if outcome == "refused" else None)
    if outcome == "used before":
        first.save(token, "user-2")
    looked, go_on = threading.Event(), threading.Event()
    look = waiting.attempts.get

    def look_and_pause(user: object) -> object:
        row = look(user)  # type: ignore[arg-type]
        looked.set()
        assert go_on.wait(10)
        return row

    waiting.attempts.get = look_and_pause  # type: ignore[method-assign,assignment]
    before = len(fake_stripe.calls)
    fake_stripe.fail(FAULTS["hangs after execution"], token=token)
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(at_once, [first], [token])
        while len(fake_stripe.calls) == before:
            time.sleep(0.005)
        two = threads.submit(at_once, [waiting], [token])
        assert looked.wait(10)
        fake_stripe.release_calls()
        actual = one.result(10)
        for _ in range(further):
            third.save(fake_stripe.account.token())
        calls = len(fake_stripe.calls)
        go_on.set()
        # Where the token became a PaymentMethod, Stripe does not refuse the card a second time: the
        # token is used up. A saved card's row has no record of refusals any more.
        is_used_up = outcome == "refused" and token in fake_stripe.account.used
        assert two.result(10) == (["token_already_used"] if is_used_up else actual)
    if outcome == "saved":
        assert len(fake_stripe.calls) == calls
    assert third.audit().is_clean, third.audit()


def test_waiting_request_that_lost_sight_of_its_attempt_is_never_a_success_by_guess(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """So many cards came in between that the row shows no more what became of it: 400, not 200."""
    instance = open_instance()
    instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    instance.save(token)
    attempt = instance.fake_stripe.account.live()[0].metadata["coord_attempt"]
    for _ in range(ACCEPTED_KEPT):
        instance.save(fake_stripe.account.token())
    assert attempt not in instance.row().accepted_attempts
    with pytest.raises(TokenRefused) as refused:
        instance.customers.save_card(instance.user(), token)
    assert refused.value.code == "token_already_used"
