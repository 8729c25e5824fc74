"""Identical requests of one user at once: which of them share an answer, and for how long."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults.at_once import at_once
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from faults.routes import takes

from app.errors import CallerIsGone, UpdateInProgress
from app.telemetry import trace

OpenInstance = Callable[..., Instance]


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
        fake_stripe.release_calls()
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


@pytest.mark.all_routes(long=True)
def test_disconnected_caller_does_not_cancel_a_duplicate(
    open_instance: OpenInstance, fake_stripe: FakeStripe, route: str
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
    assert takes(route, False, len(fake_stripe.calls))
    assert instance.audit().is_clean, instance.audit()


@pytest.mark.all_routes(long=True)
def test_who_shares_an_answer_waits_no_longer_than_its_own_time(
    open_instance: OpenInstance, fake_stripe: FakeStripe, route: str
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
        fake_stripe.release_calls()
        assert first.result(10).startswith("cus_")
    assert takes(route, False, len(fake_stripe.calls))
