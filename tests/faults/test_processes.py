"""The rule in real processes: killed, ended in mid-load, many at once, with a silent Stripe."""

import asyncio
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from faults.auditor import Acknowledged, Findings, audit
from faults.double import Double
from faults.scripted import FAULTS
from faults.storage import PostgreSql
from server_process import ServerProcess, serving
from serving import PATH, Partner

from app.config import Settings
from app.database import Database

DEADLINE = 60.0
DOOMED = Path(__file__).with_name("doomed.py")
Settled = Callable[[], Findings]


class World:
    """One database, one Stripe, one partner, any number of server processes.

    Attributes:
        acknowledged: by user, the last 200.
    """

    def __init__(self, url: str, double: Double, folder: Path) -> None:
        self.database = Database(url)
        self.double = double
        self.folder = folder
        self.partner = Partner(self.database)
        self.acknowledged: dict[str, Acknowledged] = {}
        self.settings = Settings(
            database_url=url,
            stripe_secret_key="sk_test_processes",
            stripe_api_base=double.url,
            stripe_timeout=2.0,
            request_timeout=10.0,
        )
        self._logs = 0

    def log(self) -> Path:
        self._logs += 1
        return self.folder / f"log-{self._logs}"

    def request(self, url: str, token: str, subject: str) -> tuple[str, dict[str, object]]:
        """Give what is sent to save a card."""
        return (
            f"{url}{PATH}?access_key={self.partner.access_key}",
            {
                "headers": {"Authorization": f"Bearer {self.partner.jwt(subject)}"},
                "json": {"coord_targeted_token": token},
            },
        )

    def save(self, url: str, token: str, subject: str) -> httpx.Response:
        """Save a card on a connection of its own."""
        to, what = self.request(url, token, subject)
        answer = httpx.post(to, **what, timeout=30.0, trust_env=False)  # type: ignore[arg-type]
        if answer.status_code == 200:
            self.acknowledged[subject] = Acknowledged(token, answer.json()["customer_id"])
        return answer

    def audit(self) -> Findings:
        return audit(self.database.engine, self.double.account, self.acknowledged)

    def settle(self) -> float:
        """Wait until nothing is open, with no operator; tells how long it took."""
        began = time.monotonic()
        while self.audit().open:
            assert time.monotonic() - began < DEADLINE, self.audit()
            time.sleep(0.1)
        return time.monotonic() - began


@pytest.fixture
def world(url: str, double: Double, tmp_path: Path) -> Iterator[World]:
    made = World(url, double, tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def on_postgresql(postgresql_url: str, double: Double, tmp_path: Path) -> Iterator[World]:
    made = World(postgresql_url, double, tmp_path)
    yield made
    made.database.close()


POINTS = ["begin.before", "begin.after", "call.at", "call.after", "accept.before", "accept.after"]


@pytest.mark.long
@pytest.mark.parametrize("point", [*POINTS, "executed"])
@pytest.mark.parametrize("has_customer", [False, True], ids=["create", "update"])
def test_kill_at_each_point(world: World, point: str, has_customer: bool) -> None:
    """SIGKILL; after a restart all settles with no operator, and the client's retry converges."""
    token, old = world.double.account.token(), world.double.account.token()
    program = (sys.executable, DOOMED)
    doom = {"DOOM": point, "DOOM_SKIP": str(int(has_customer))}
    server = ServerProcess(world.settings, world.log(), program=program, **doom)
    server.wait_until_ready()
    before = world.save(server.url, old, "user-1").json() if has_customer else None
    if point == "executed":
        world.double.on_executed = lambda _call: server.process.kill()
    with pytest.raises(httpx.TransportError):
        world.save(server.url, token, "user-1")
    assert server.process.wait(10) == -9
    world.double.on_executed = None
    world.acknowledged.clear()
    with serving(world.settings, world.log()) as successor:
        world.settle()
        found = world.audit()
        assert found.duplicates == found.orphans == found.dangling == [], found
        customer_id = world.save(successor.url, token, "user-1").json()["customer_id"]
        assert before is None or before["customer_id"] == customer_id
    assert world.audit().is_clean, world.audit()
    assert len(world.double.account.live()) == 1


def converge(world: World, urls: dict[int, str], subject: str, counts: Counter[str]) -> None:
    """Save one card, however often it takes."""
    token = world.double.account.token()
    while True:
        counts["requests"] += 1
        try:
            answer = world.save(random.choice(list(urls.values())), token, subject)
        except httpx.TransportError:
            time.sleep(0.02)
            continue
        counts[str(answer.status_code)] += 1
        if answer.status_code == 200:
            return
        if answer.status_code == 422:
            # A process that was killed had saved it, and the answer was lost with it.
            assert answer.json()["code"] == "token_already_used"
            token = world.double.account.token()


@pytest.mark.long
@pytest.mark.parametrize("kills", [100])
def test_kills_at_random_moments_under_load(
    world: World, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever retries converges; nobody has two customers, and no customer is without a user."""
    chance = random.Random(kills)
    over = threading.Event()
    urls: dict[int, str] = {}
    left = Counter({"kills": kills})
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def killer(slot: int) -> None:
        while True:
            with lock:
                if left["kills"] <= 0:
                    return
                left["kills"] -= 1
            server = ServerProcess(world.settings, world.log())
            server.wait_until_ready()
            urls[slot] = server.url
            time.sleep(chance.uniform(0.0, 0.6))
            server.process.kill()
            assert server.process.wait(10) == -9
            counts["kills"] += 1

    def client(number: int) -> None:
        while not over.is_set():
            converge(world, urls, f"user-{number}", counts)
        converge(world, urls, f"user-{number}", counts)

    with ThreadPoolExecutor(20) as threads:
        killers = [threads.submit(killer, slot) for slot in range(3)]
        while not urls:
            time.sleep(0.05)
        clients = [threads.submit(client, number) for number in range(16)]
        for done in killers:
            done.result()
        with serving(world.settings, world.log()) as last:
            urls.clear()
            urls[0] = last.url
            over.set()
            for each in clients:
                each.result(120)
            seconds = world.settle()
    found = world.audit()
    assert found.is_clean, found
    assert counts["kills"] == kills
    assert "500" not in counts
    with capsys.disabled():
        print(f"\n{dict(counts)}, settled after {seconds:.1f} s, found {found.counts}")


async def at_once(
    world: World, urls: list[str], wanted: list[tuple[str, str]]
) -> list[tuple[int, str]]:
    """Send all at the same time, in turn to each server.

    Args:
        world: knows the partner.
        urls: of the servers.
        wanted: subjects and tokens.

    Returns:
        Status and customer's id, or code, of each; a client library would take minutes for this.
    """

    async def one(number: int) -> tuple[int, str]:
        subject, token = wanted[number]
        address = urlsplit(urls[number % len(urls)])
        body = json.dumps({"coord_targeted_token": token})
        lines = [
            f"POST {PATH}?access_key={world.partner.access_key} HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {jwts[subject]}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write("\r\n".join([*lines, "", body]).encode())
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        answer = json.loads(content)
        return int(head.split()[1]), answer.get("customer_id") or answer["code"]

    jwts = {subject: world.partner.jwt(subject) for subject, _ in wanted}
    return await asyncio.gather(*[one(number) for number in range(len(wanted))])


def test_many_identical_requests_at_two_servers(on_postgresql: World) -> None:
    """100 users, 20 times each: 100 customers, and each user's answers are the same."""
    world = on_postgresql
    users = {f"user-{number}": world.double.account.token() for number in range(100)}
    wanted = [(subject, token) for subject, token in users.items() for _ in range(20)]
    with serving(world.settings, world.log()) as one, serving(world.settings, world.log()) as two:
        answers = asyncio.run(at_once(world, [one.url, two.url], wanted))
    told: dict[str, set[str]] = {subject: set() for subject in users}
    for (subject, token), (status, customer_id) in zip(wanted, answers, strict=True):
        assert status == 200, customer_id
        told[subject].add(customer_id)
        world.acknowledged[subject] = Acknowledged(token, customer_id)
    assert all(len(ids) == 1 for ids in told.values())
    assert len(world.double.account.live()) == 100
    assert len(world.double.calls) == 100
    assert world.audit().is_clean, world.audit()


def test_many_cards_of_one_user_at_two_servers(on_postgresql: World) -> None:
    """50 cards at once: one customer, whose default is the card that was acknowledged last."""
    world = on_postgresql
    wanted = [("user-1", world.double.account.token()) for _ in range(50)]
    with serving(world.settings, world.log()) as one, serving(world.settings, world.log()) as two:
        answers = asyncio.run(at_once(world, [one.url, two.url], wanted))
    statuses = Counter(status for status, _ in answers)
    assert set(statuses) <= {200, 409}
    assert statuses[200] >= 10
    assert len({customer_id for status, customer_id in answers if status == 200}) == 1
    assert world.audit().is_clean, world.audit()


@pytest.mark.parametrize(
    ("seconds", "callers"),
    [(4.0, 100), pytest.param(60.0, 300, marks=pytest.mark.long)],
)
def test_silent_stripe(on_postgresql: World, seconds: float, callers: int) -> None:
    """Every caller is answered in its time, the probes work, and afterwards all is as before."""
    world = on_postgresql
    budget = 5.0
    settings = Settings(
        **{**vars(world.settings), "stripe_timeout": 3.0, "request_timeout": budget}
    )
    tokens = {f"user-{number}": world.double.account.token() for number in range(callers)}
    over = threading.Event()
    worst = 0.0

    with serving(settings, world.log()) as server, ThreadPoolExecutor(callers + 1) as threads:
        world.save(server.url, world.double.account.token(), "somebody")

        def probe() -> None:
            nonlocal worst
            with httpx.Client(trust_env=False, timeout=10.0) as client:
                while not over.wait(0.05):
                    began = time.monotonic()
                    assert client.get(f"{server.url}/healthz").status_code == 200
                    worst = max(worst, time.monotonic() - began)

        def call(subject: str) -> list[tuple[int, float]]:
            told = []
            while not over.is_set():
                began = time.monotonic()
                answer = world.save(server.url, tokens[subject], subject)
                told.append((answer.status_code, time.monotonic() - began))
                over.wait(0.5)
            return told

        world.double.fail(FAULTS["hangs before execution"], times=None, method=None)
        probing = threads.submit(probe)
        calls = [threads.submit(call, subject) for subject in tokens]
        over.wait(seconds)
        over.set()
        told = [each for pending in calls for each in pending.result(30)]
        probing.result(30)
        world.double.heal()
        healed = time.monotonic()
        assert world.save(server.url, world.double.account.token(), "another").status_code == 200
        assert time.monotonic() - healed < 5.0
        world.settle()
    assert {status for status, _ in told} <= {503, 409}
    assert max(took for _, took in told) < budget + 1.0
    assert worst < 0.1, worst
    world.acknowledged.clear()
    assert world.audit().is_clean, world.audit()


def test_postgresql_restarts_in_mid_load(on_postgresql: World, postgres: PostgreSql) -> None:
    """503 while it is away; whoever retries converges."""
    world = on_postgresql
    over = threading.Event()
    statuses: Counter[int] = Counter()

    with serving(world.settings, world.log()) as server, ThreadPoolExecutor(8) as threads:

        def client(number: int) -> None:
            while not over.is_set():
                token = world.double.account.token()
                while (
                    answer := world.save(server.url, token, f"user-{number}")
                ).status_code != 200:
                    statuses[answer.status_code] += 1
                    time.sleep(0.02)
                statuses[200] += 1

        clients = [threads.submit(client, number) for number in range(8)]
        while statuses[200] < 50:
            time.sleep(0.01)
        postgres.restart()
        after = statuses[200] + 50
        while statuses[200] < after:
            time.sleep(0.01)
        over.set()
        for each in clients:
            each.result(30)
        world.settle()
    assert set(statuses) <= {200, 503, 401, 409}
    assert world.audit().is_clean, world.audit()


def test_sigterm_in_mid_load(world: World) -> None:
    """What was accepted is finished and answered; then the process ends."""
    world.double.processing = 0.3
    answers: list[int] = []
    refused = 0

    def call(number: int) -> None:
        nonlocal refused
        try:
            token = world.double.account.token()
            answers.append(world.save(server.url, token, f"user-{number}").status_code)
        except httpx.TransportError:
            refused += 1

    with serving(world.settings, world.log()) as server, ThreadPoolExecutor(30) as threads:
        pending = [threads.submit(call, number) for number in range(200)]
        while len(answers) < 30:
            time.sleep(0.005)
        server.process.terminate()
        for each in pending:
            each.result(30)
        assert server.process.wait(30) == 0
    assert set(answers) == {200}
    assert refused
    assert len(answers) + refused == 200
    assert len(world.double.account.live()) == len(answers)
    assert world.audit().is_clean, world.audit()
