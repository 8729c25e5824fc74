"""`kill -9` of `coord-users import` and `reconcile`, real processes, at random moments.

Run again, each brings all to its end: nothing is lost, nothing is deleted that lives, nothing is
created twice. At each single point, in one process: `tests/customers/test_interruptions.py`.
"""

import random
import subprocess
import time
from pathlib import Path

import pytest
from faults import tally
from faults.auditor import Acknowledged
from faults.deployment import Deployment
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.chance import chance_of, part_of
from support.reconciling import forget_row, line, mark_as_version_1, stray, stray_of
from support.server_process import COMMAND, environ_of

# Kills of one command before it may come to its end, in the default suite and in `tox -e long`.
FEW, MANY = 2, 30
KILLS = [pytest.param(FEW), pytest.param(MANY, marks=pytest.mark.long)]
# Users of each kind, so many that a run takes a few dozen calls.
USERS = 6
# A kill comes so many seconds after a call has arrived, at most: before its answer, or after what
# follows from it is stored.
HASTE = 0.03
PATIENCE = 120.0


class Command:
    """`coord-users` with some words, on the database and the Stripe of a deployment."""

    def __init__(self, deployment: Deployment, *words: str) -> None:
        self._deployment = deployment
        self._words = (COMMAND, *words)
        self._environ = environ_of(deployment.settings)

    def run(self) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(
            self._words, capture_output=True, text=True, timeout=PATIENCE, env=self._environ
        )

    def kill(self, calls: int, haste: float) -> bool:
        """Start it and kill it after so many calls; returns False if it ended before."""
        arrived = self._deployment.fake_stripe.calls
        wanted = len(arrived) + calls
        with subprocess.Popen(
            self._words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environ,
        ) as process:
            until = time.monotonic() + PATIENCE
            while len(arrived) < wanted and process.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.001)
            time.sleep(haste)
            process.kill()
        return process.returncode == -9


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Return what decides when to kill; SEED repeats a run."""
    return chance_of("kills", request.node.nodeid)


@pytest.fixture
def instance(url: str, fake_stripe: FakeStripe) -> Instance:
    """Return an instance in this process, beside the commands."""
    return Instance(url, fake_stripe)


def killed(command: Command, chance: random.Random, kills: int, most: int) -> int:
    """Kill a command again and again; returns how often it was at work then."""
    number = sum(
        command.kill(chance.randint(1, most), chance.uniform(0, HASTE)) for _ in range(kills)
    )
    tally.count("kills of a command", number)
    return number


@pytest.mark.repeats
@pytest.mark.parametrize("kills", KILLS)
def test_import(
    deployment: Deployment, instance: Instance, chance: random.Random, tmp_path: Path, kills: int
) -> None:
    """Each customer is its user's, whichever lines were done when the process was killed."""
    instance.user()
    customers = {
        f"user-{number}": stray(deployment.fake_stripe.account) for number in range(2 * USERS)
    }
    file = tmp_path / "customers.jsonl"
    file.write_bytes(b"".join(line(one, subject) for subject, one in customers.items()))
    command = Command(deployment, "import", str(file))
    kills = part_of(kills)
    number = killed(command, chance, kills, 2 * len(customers))
    done = command.run()
    print(f"{number} of {kills} kills while it ran")
    assert done.returncode == 0, done.stderr
    assert {subject: instance.row(subject).stripe_customer_id for subject in customers} == customers
    found = deployment.audit()
    assert found.is_clean, found
    assert len(deployment.fake_stripe.account.live()) == len(customers)
    with instance:
        token = deployment.fake_stripe.account.token()
        assert instance.save(token, "user-0") == customers["user-0"]


@pytest.mark.repeats
@pytest.mark.parametrize("kills", KILLS)
def test_reconcile(
    deployment: Deployment, instance: Instance, chance: random.Random, kills: int
) -> None:
    """After a restored backup: customers that it forgot, duplicates, and marks of version 1.0."""
    account, kept = deployment.fake_stripe.account, {}
    for kind in ("stored", "forgotten", "duplicate", "old"):
        for number in range(USERS):
            subject = f"{kind}-{number}"
            token = account.token()
            kept[subject] = instance.save(token, subject)
            if kind == "forgotten":
                forget_row(instance, subject)
            else:
                deployment.acknowledged[subject] = Acknowledged(token, kept[subject])
            if kind == "duplicate":
                stray_of(instance, subject, acknowledged=7200)
            if kind == "old":
                mark_as_version_1(instance, kept[subject], instance.row(subject).id)
    command = Command(deployment, "reconcile", "--delete")
    kills = part_of(kills)
    number = killed(command, chance, kills, 3 * USERS)
    done = command.run()
    print(f"{number} of {kills} kills while it ran")
    assert done.returncode == 0, done.stdout + done.stderr
    again = command.run()
    assert (again.returncode, again.stdout) == (0, "")
    assert {one.id for one in account.live()} == set(kept.values())
    found = deployment.audit()
    assert found.is_clean, found
    with instance:
        assert instance.save(account.token(), "forgotten-0") == kept["forgotten-0"]
