"""`kill -9`, of real processes: at each point between the steps, and at random moments."""

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest
from faults import tally
from faults.caller import Lost
from faults.deployment import Deployment, Load
from faults.records import Call
from faults.restartable_server import RestartableServer
from faults.routes import CALLS, WAYS, card
from support.chance import chance_of, part_of
from support.server_process import serving

# By how the card before was saved, if there was one; a default PaymentMethod is replaced by another
# in whichever way it was made.
CHANGES = [
    pytest.param(before, now, id=f"{before or 'nothing'} to {now}")
    for before in (None, "source", "pm")
    for now in WAYS
]
# How many servers live at a time, how many clients call them, and how many kills there are.
SERVERS, CLIENTS, KILLS = 3, 16, 100
# How many cards are saved before a kill at most, and how long the request has that comes just
# before it, in seconds. Counted in cards, so that servers live longer on a slow machine.
CARDS, HASTE = 4, 0.05


def points(before: str | None, now: str) -> list[tuple[str, int]]:
    """Return each point of a save, with how often the save passes it before."""
    cards, sends = WAYS[now]
    calls = 3 if (before, now) == ("pm", "source") else CALLS[cards, sends, before is not None]
    once = [f"{name}.{when}" for name in ("claim", "accept") for when in ("before", "after")]
    return [
        *((point, 0) for point in once),
        *((point, k) for k in range(calls) for point in ("call.at", "executed", "call.after")),
        *((point, k) for k in range(calls - 1) for point in ("advance.before", "advance.after")),
    ]


def save_before(deployment: Deployment, way: str, subjects: list[str]) -> dict[str, str]:
    """Save the first card of users; returns their customers."""
    cards, sends = WAYS[way]
    settings = replace(deployment.settings, stripe_cards=cards)
    with serving(settings, deployment.log()) as server:
        return {
            subject: deployment.save(
                server.url, card(deployment.fake_stripe, sends), subject
            ).customer_id
            for subject in subjects
        }


def kill_after(server: RestartableServer, skip: int) -> Callable[[Call], None]:
    """Return what kills a server once Stripe has executed one call more than `skip`."""
    left = iter(range(skip, -1, -1))

    def executed(_call: Call) -> None:
        if next(left, None) == 0:
            server.send_kill()

    return executed


@pytest.mark.long
@pytest.mark.parametrize(("before", "now"), CHANGES)
def test_kill_at_each_point(deployment: Deployment, before: str | None, now: str) -> None:
    """After a restart all settles with no operator, and the client's retry converges."""
    cards, sends = WAYS[now]
    deployment.settings = replace(deployment.settings, stripe_cards=cards)
    server = RestartableServer(deployment.settings, deployment.log())
    sent: dict[str, str] = {}
    users = {f"{point}-{skip}": (point, skip) for point, skip in points(before, now)}
    kept = save_before(deployment, before, list(users)) if before else {}
    for subject, (point, skip) in users.items():
        token = card(deployment.fake_stripe, sends)
        crash_at = "" if point == "executed" else point
        # The completer can come to the point first, with the user of a point before.
        while not server.start(crash_at, skip):
            tally.count("kills of a completer at a point")
        if point == "executed":
            deployment.fake_stripe.on_executed = kill_after(server, skip)
        with pytest.raises(Lost):
            deployment.save(server.url, token, subject)
        server.wait_for_death()
        tally.count("kills at a point")
        deployment.fake_stripe.on_executed = None
        sent[subject] = token
    server.start()
    deployment.settle()
    found = deployment.audit()
    assert found.duplicates == found.orphans == found.dangling == [], found
    for subject, token in sent.items():
        answer = deployment.save(server.url, token, subject)
        assert answer.status == 200, (subject, answer.code)
        assert kept.get(subject) in (None, answer.customer_id)
    server.stop()
    assert deployment.audit().is_clean, deployment.audit()
    assert len(deployment.fake_stripe.account.live()) == len(sent)


@pytest.fixture
def servers(deployment: Deployment) -> Iterator[list[RestartableServer]]:
    """Yield fork servers that are warm."""
    made = [
        RestartableServer(deployment.settings_of_next(), deployment.log()) for _ in range(SERVERS)
    ]
    yield made
    for server in made:
        server.stop()


@pytest.mark.long
@pytest.mark.repeats
@pytest.mark.all_routes
def test_kills_at_random_moments_under_load(
    deployment: Deployment, servers: list[RestartableServer], request: pytest.FixtureRequest
) -> None:
    """A retried request converges; attempts that are not retried are settled by the completer.

    SEED repeats the moments and the choices of a run, as far as threads and processes allow.

    SEED repeats the moments and the choices of a run, as far as threads and processes allow.
    """
    number_of_kills = part_of(KILLS)
    chance = chance_of("kills", request.node.nodeid)
    moments = [
        (chance.randint(0, CARDS), chance.uniform(0.0, HASTE)) for _ in range(number_of_kills)
    ]
    deployment.fake_stripe.processing = 0.02
    alive: set[str] = set()
    load = Load(deployment, lambda: sorted(alive), random.Random(chance.random()), 900.0)
    left = iter(range(number_of_kills))
    ghosts: list[Future[None]] = []
    kills = Counter[str]()

    def ghost(url: str, subject: str) -> None:
        """Send one request just before the kill, and never retry it."""
        with contextlib.suppress(Lost):
            deployment.save(url, deployment.fake_stripe.account.token(), subject)

    def killer(server: RestartableServer) -> None:
        for number in left:
            server.start()
            alive.add(server.url)
            cards, haste = moments[number]
            load.wait_for(cards)
            ghosts.append(threads.submit(ghost, server.url, f"ghost-{number}"))
            time.sleep(haste)
            server.kill()
            alive.discard(server.url)
            kills[server.url] += 1
            tally.count("kills at random")
        server.start()
        alive.add(server.url)

    with ThreadPoolExecutor(CLIENTS + 2 * SERVERS) as threads:
        clients = [threads.submit(load.client, f"user-{number}") for number in range(CLIENTS)]
        killers = [threads.submit(killer, server) for server in servers]
        try:
            for each in killers:
                each.result()
        finally:
            load.over.set()
        for each in (*clients, *ghosts):
            each.result()
    left_open = len(deployment.audit().open)
    seconds = deployment.settle()
    found = deployment.audit()
    print(f"{kills.total()} kills, {dict(load.counts)}")
    print(f"{left_open} of {len(ghosts)} left open, settled in {seconds:.1f} s")
    print(f"found {found.counts}")
    assert found.is_clean, found
    assert kills.total() == number_of_kills
    # Else no request was in flight at the kills, and they prove nothing.
    assert load.counts["lost"] >= number_of_kills
