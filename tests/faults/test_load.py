"""Many at once, in real processes; ended, and their database restarted, in mid-load."""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from faults.auditor import Acknowledged
from faults.caller import Answer, Lost
from faults.deployment import DEADLINE, Deployment, Load
from support.postgresql import PostgreSql
from support.server_process import serving


def at_once(deployment: Deployment, urls: list[str], wanted: list[tuple[str, str]]) -> list[Answer]:
    """Send all at the same time, in turn to each server.

    Args:
        deployment: knows the callers.
        urls: of the servers.
        wanted: subjects and tokens.
    """

    async def all_of_them() -> list[Answer]:
        return await asyncio.gather(
            *[
                deployment.callers.save_soon(urls[number % len(urls)], token, subject)
                for number, (subject, token) in enumerate(wanted)
            ]
        )

    return asyncio.run(all_of_them())


def test_many_identical_requests_at_two_servers(on_postgresql: Deployment) -> None:
    """100 users, 20 times each: 100 customers, and each user's answers are the same."""
    deployment = on_postgresql
    deployment.take_time()
    users = {f"user-{number}": deployment.fake_stripe.account.token() for number in range(100)}
    wanted = [(subject, token) for subject, token in users.items() for _ in range(20)]
    with (
        serving(deployment.settings, deployment.log()) as one,
        serving(deployment.settings, deployment.log()) as two,
    ):
        answers = at_once(deployment, [one.url, two.url], wanted)
    actual: dict[str, set[str]] = {subject: set() for subject in users}
    for (subject, token), answer in zip(wanted, answers, strict=True):
        assert answer.status == 200, answer.code
        actual[subject].add(answer.customer_id)
        deployment.acknowledged[subject] = Acknowledged(token, answer.customer_id)
    assert all(len(ids) == 1 for ids in actual.values())
    assert len(deployment.fake_stripe.account.live()) == 100
    assert len(deployment.fake_stripe.calls) == 100
    assert deployment.audit().is_clean, deployment.audit()


def test_many_cards_of_one_user_at_two_servers(on_postgresql: Deployment) -> None:
    """50 cards at once: one customer, whose default is the card that was acknowledged last."""
    deployment = on_postgresql
    deployment.take_time()
    wanted = [("user-1", deployment.fake_stripe.account.token()) for _ in range(50)]
    with (
        serving(deployment.settings, deployment.log()) as one,
        serving(deployment.settings, deployment.log()) as two,
    ):
        answers = at_once(deployment, [one.url, two.url], wanted)
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 409}
    assert statuses[200] >= 10
    assert len({answer.customer_id for answer in answers if answer.status == 200}) == 1
    # Updates follow one another, so the last that Stripe did is the last that was acknowledged.
    acknowledged = {
        token for (_, token), answer in zip(wanted, answers, strict=True) if answer.status == 200
    }
    done = [entry.token for entry in deployment.fake_stripe.account.ledger if entry.status == 200]
    assert set(done) == acknowledged
    assert [one.token for one in deployment.fake_stripe.account.live()] == done[-1:]
    assert deployment.audit().is_clean, deployment.audit()


def test_postgresql_restarts_under_load(on_postgresql: Deployment, postgres: PostgreSql) -> None:
    """503 while it is down; a retried request converges."""
    deployment = on_postgresql
    with serving(deployment.settings, deployment.log()) as server, ThreadPoolExecutor(8) as threads:
        load = Load(deployment, lambda: [server.url])
        clients = [threads.submit(load.client, f"user-{number}") for number in range(8)]
        try:
            load.wait_for(50)
            postgres.restart()
            load.wait_for(50)
        finally:
            load.over.set()
        for each in clients:
            each.result(DEADLINE)
        deployment.settle()
    assert set(load.counts) <= {"200", "503", "409", "cards"}
    assert deployment.audit().is_clean, deployment.audit()


def test_sigterm_under_load(deployment: Deployment) -> None:
    """What was accepted is finished and answered; then the process ends."""
    deployment.fake_stripe.processing = 0.3
    answers: list[int] = []
    refused = 0

    def call(number: int) -> None:
        nonlocal refused
        try:
            token = deployment.fake_stripe.account.token()
            answers.append(deployment.save(server.url, token, f"user-{number}").status)
        except Lost:
            refused += 1

    with (
        serving(deployment.settings, deployment.log()) as server,
        ThreadPoolExecutor(30) as threads,
    ):
        pending = [threads.submit(call, number) for number in range(200)]
        for first in pending[:30]:
            first.result(DEADLINE)
        server.process.terminate()
        for each in pending:
            each.result(DEADLINE)
        assert server.process.wait(30) == 0
    assert set(answers) == {200}
    assert refused
    assert len(answers) + refused == 200
    assert len(deployment.fake_stripe.account.live()) == len(answers)
    assert deployment.audit().is_clean, deployment.audit()
