"""Requests of one user at the same time, in two instances on one database.

With server processes and by the thousand: `test_load.py`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance

from app.customers.statements import ACCEPTED_KEPT
from app.errors import CallerIsGone, TokenRefused, UpdateInProgress, UsersApiError
from app.telemetry import trace

OpenInstance = Callable[..., Instance]


def at_once(
    instances: Sequence[Instance], tokens: Sequence[str], subject: str = "user-1"
) -> list[str]:
    """Save all tokens at once, in turn by each instance; returns ids and codes in their order."""
    for instance in instances:
        instance.user(subject)
    together = threading.Barrier(len(tokens))

    def one(number: int) -> str:
        instance = instances[number % len(instances)]
        user = instance.user(subject)
        together.wait(10)
        try:
            return instance.customers.save_card(user, tokens[number])
        except UsersApiError as error:
            return error.code

    with ThreadPoolExecutor(len(tokens)) as threads:
        return list(threads.map(one, range(len(tokens))))


@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_same_token_at_once_is_one_update(
    open_instance: OpenInstance, fake_stripe: FakeStripe, has_customer: bool
) -> None:
    """One call to Stripe, whose answer all get."""
    instances = [open_instance(call=5.0, request=20.0, lease=30.0) for _ in range(2)]
    before = instances[0].save(fake_stripe.account.token()) if has_customer else None
    instances[0].acknowledged.clear()
    fake_stripe.processing = 0.1
    actual = at_once(instances, [fake_stripe.account.token()] * 20)
    assert len(set(actual)) == 1
    assert before in (None, *actual)
    assert len(fake_stripe.calls) == 1 + has_customer
    assert instances[0].audit().is_clean, instances[0].audit()


def test_different_tokens_at_once_follow_one_another(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """One customer; each card is saved, one after the other, the last of them is the default."""
    instances = [open_instance(call=5.0, request=40.0, lease=30.0) for _ in range(2)]
    fake_stripe.processing = 0.005
    tokens = [fake_stripe.account.token() for _ in range(20)]
    actual = at_once(instances, tokens)
    assert len(set(actual)) == 1
    assert actual[0].startswith("cus_")
    assert sorted(entry.token for entry in fake_stripe.account.ledger) == sorted(tokens)
    assert instances[0].audit().is_clean, instances[0].audit()


def test_same_refused_token_at_once_is_one_refusal(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """All who sent it are told the same, and it counts once."""
    instances = [open_instance(call=5.0, request=20.0, lease=30.0, per_user=2) for _ in range(2)]
    fake_stripe.processing = 0.1
    actual = at_once(instances, [fake_stripe.account.token("expired_card")] * 10)
    assert actual == ["expired_card"] * 10
    assert len(fake_stripe.calls) == 1
    assert instances[0].save(fake_stripe.account.token())


def test_users_at_once_get_customers_of_their_own(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """Nobody waits for another's lease."""
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
        fake_stripe.let_go()
        assert pending.result(10) == hasty.save(second)
    assert hasty.audit().is_clean, hasty.audit()


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
        fake_stripe.let_go()
        actual = one.result(10)
        for _ in range(further):
            third.save(fake_stripe.account.token())
        calls = len(fake_stripe.calls)
        go_on.set()
        assert two.result(10) == actual
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


@pytest.mark.parametrize("where", ["same server", "another server"])
def test_repeated_request_after_another_card_shares_no_outdated_success(
    open_instance: OpenInstance, fake_stripe: FakeStripe, where: str
) -> None:
    """Card A is saved, then card B, then A is sent again before its first request has returned."""
    instance, other = (open_instance(call=5.0, request=10.0, lease=20.0) for _ in range(2))
    instance.save(fake_stripe.account.token())
    token = fake_stripe.account.token()
    accepted, go_on = threading.Event(), threading.Event()
    method = "accept" if where == "same server" else "confirm_accepted"
    original = getattr(instance.attempts, method)

    def return_late(*args: Any, **named: Any) -> Any:
        result = original(*args, **named)
        accepted.set()
        assert go_on.wait(10)
        return result

    setattr(instance.attempts, method, return_late)
    fake_stripe.fail(FAULTS["hangs after execution"], token=token)
    before = len(fake_stripe.calls)
    with ThreadPoolExecutor(3) as threads:
        owner = threads.submit(at_once, [instance if where == "same server" else other], [token])
        while len(fake_stripe.calls) == before:
            time.sleep(0.005)
        first = owner
        if where == "another server":
            looked = threading.Event()
            look = instance.attempts.get

            def look_once(user: Any) -> Any:
                row = look(user)
                looked.set()
                return row

            instance.attempts.get = look_once  # type: ignore[method-assign]
            first = threads.submit(at_once, [instance], [token])
            assert looked.wait(10)
        fake_stripe.let_go()
        assert accepted.wait(10)
        other.save(fake_stripe.account.token())
        joined = threading.Event()
        run = instance.customers._in_flight.run

        def run_visibly(*args: Any) -> str:
            joined.set()
            return run(*args)

        instance.customers._in_flight.run = run_visibly  # type: ignore[method-assign]
        repeated = threads.submit(at_once, [instance], [token])
        assert joined.wait(10)
        go_on.set()
        assert first.result(10)[0].startswith("cus_")
        assert repeated.result(10) == ["token_already_used"]
    assert other.audit().is_clean, other.audit()


def test_disconnected_caller_does_not_cancel_a_duplicate(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """Of two identical requests, the first caller disconnects; the card of the other is saved."""
    instance = open_instance()
    user, token = instance.user(), fake_stripe.account.token()
    begun, go_on = threading.Event(), threading.Event()
    begin = instance.attempts.claim

    def begin_late(*args: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return begin(*args)

    instance.attempts.claim = begin_late  # type: ignore[method-assign]

    def call(name: str, is_gone: bool) -> str:
        trace.begin(name, 10.0, {trace.CALLER_IS_GONE: lambda: is_gone})
        return instance.customers.save_card(user, token)

    with ThreadPoolExecutor(2) as threads:
        gone = threads.submit(call, "gone", True)
        assert begun.wait(10)
        there = threads.submit(call, "there", False)
        go_on.set()
        with pytest.raises(CallerIsGone):
            gone.result(10)
        assert there.result(10).startswith("cus_")
    assert len(fake_stripe.calls) == 1
    assert instance.audit().is_clean, instance.audit()


def test_who_shares_an_answer_waits_no_longer_than_its_own_time(
    open_instance: OpenInstance, fake_stripe: FakeStripe
) -> None:
    """409: the same card is being saved by a request that has more time."""
    instance = open_instance(call=5.0, request=10.0)
    user, token = instance.user(), fake_stripe.account.token()
    fake_stripe.fail(FAULTS["hangs after execution"])
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(instance.customers.save_card, user, token)
        while not fake_stripe.calls:
            time.sleep(0.005)

        def call() -> str:
            trace.begin("hasty", 0.05, {})
            return instance.customers.save_card(user, token)

        with pytest.raises(UpdateInProgress):
            threads.submit(call).result(10)
        fake_stripe.let_go()
        assert first.result(10).startswith("cus_")
    assert len(fake_stripe.calls) == 1
