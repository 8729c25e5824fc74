"""`reconcile`, `installations`, `import` and `users`, as an operator runs them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from faults.call_faults import FAULTS
from faults.fake_stripe import FakeStripe
from faults.instance import SECRET_KEY, Instance
from support.reconciling import forget_row, line, stray, stray_of

from app.errors import StripeUnavailable

Run = Callable[..., Result]


@pytest.fixture
def fake_stripe(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """Return a fake Stripe, which the commands call."""
    with FakeStripe() as running:
        monkeypatch.setenv("STRIPE_SECRET_KEY", SECRET_KEY)
        monkeypatch.setenv("STRIPE_API_BASE", running.url)
        yield running


@pytest.fixture
def instance(database_url: str, fake_stripe: FakeStripe) -> Iterator[Instance]:
    """Return the service on the commands' database."""
    with Instance(database_url, fake_stripe) as running:
        yield running


def test_customers_come_back_after_a_restored_backup(
    instance: Instance, fake_stripe: FakeStripe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 as long as anything is left, and nothing is deleted unless told so."""
    monkeypatch.setattr("app.customers.save_card.RETRY_PAUSES", ())
    fake_stripe.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        instance.save(fake_stripe.account.token(), "user-0")
    fake_stripe.heal()
    instance.let_leases_expire()
    customer_id = instance.save(fake_stripe.account.token())
    row_id = instance.row("user-0").id
    forget_row(instance)
    dry = run("reconcile", "--dry-run")
    assert dry.exit_code == 1
    assert dry.stdout.splitlines() == [
        f"open_attempt\tuser {row_id}\twould be settled",
        f"adopted\tcustomer {customer_id}\twould become its user's",
    ]
    done = run("reconcile")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"open_attempt\tuser {row_id}\tsettled"
    assert done.stdout.splitlines()[1].startswith("adopted\t")
    assert done.stderr.splitlines()[-1] == "0 left"
    duplicate = stray_of(instance)
    assert run("reconcile").exit_code == 1
    done = run("reconcile", "--delete")
    assert (done.exit_code, "deleted" in done.stdout) == (0, True)
    assert fake_stripe.account.customers[duplicate].deleted
    instance.save(fake_stripe.account.token())
    assert instance.audit().is_clean, instance.audit()


def test_lost_database_is_rebuilt(
    instance: Instance, fake_stripe: FakeStripe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installations at Stripe are listed without any database."""
    customer_id = stray(fake_stripe.account, "a" * 32, "f" * 64)
    before = instance.database.installation()
    with monkeypatch.context() as patch:
        patch.setattr("app.service.open_database", None)
        listed = run("installations").stdout.splitlines()
    assert listed[0].split() == ["installation", "customers", "newest"]
    assert listed[1].split()[:2] == ["a" * 32, "1"]
    assert run("reconcile", "--dry-run", "--from", "a" * 32).exit_code == 1
    assert instance.database.installation() == before
    wrong = run("reconcile", "--from", "b" * 32)
    assert wrong.exit_code == 1
    assert "coord-users installations" in wrong.stderr.splitlines()[-1]
    done = run("reconcile", "--from", "a" * 32)
    assert done.exit_code == 0, done.stderr
    assert customer_id in done.stdout
    assert instance.database.installation() == "a" * 32
    stray(fake_stripe.account, "b" * 32, "f" * 64)
    refused = run("reconcile", "--from", "b" * 32)
    assert refused.exit_code == 1
    assert "users of its own" in refused.stderr.splitlines()[-1]


def test_import(instance: Instance, fake_stripe: FakeStripe, run: Run, tmp_path: Path) -> None:
    """Lines that are left are printed with their number, and the exit status is 1."""
    instance.user()
    good, bad = stray(fake_stripe.account), stray(fake_stripe.account, "another")
    file = tmp_path / "customers.jsonl"
    file.write_bytes(line(good) + line(bad, "user-2"))
    done = run("import", str(file))
    assert done.exit_code == 1
    assert done.stdout == f"line 2\t{bad} belongs to another installation\n"
    assert done.stderr.splitlines()[-1] == "1 done, 1 left"
    file.write_bytes(line(good))
    assert run("import", str(file)).exit_code == 0
    assert instance.row().stripe_customer_id == good


def test_users(instance: Instance, fake_stripe: FakeStripe, run: Run) -> None:
    """With what support needs to know: the last refusal, and an attempt that is open."""
    assert run("users").stdout == ""
    customer_id = instance.save(fake_stripe.account.token())
    instance.save(fake_stripe.account.token(), "user-2")
    instance.change("user-1", refusal={"code": "card_declined"}, attempt_started_at=5.0)
    shown = json.loads(run("users", "--format", "jsonl", "--subject", "user-1").stdout)
    assert shown.pop("last_updated").startswith("20")
    assert shown == {
        "id": instance.row().id,
        "partner": "Acme",
        "issuer": "https://acme.example/",
        "subject": "user-1",
        "stripe_customer_id": customer_id,
        "last_refusal": "card_declined",
        "open_attempt_since": "1970-01-01T00:00:05+00:00",
    }
    heading, row = run("users", "--customer", customer_id).stdout.splitlines()
    assert sorted(heading.split()) == sorted([*shown, "last_updated"])
    assert customer_id in row


def test_stripe_that_cannot_be_reached(
    instance: Instance, fake_stripe: FakeStripe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, soon."""
    instance.save(fake_stripe.account.token())
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:9")
    done = run("reconcile")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "Stripe cannot be used" in done.stderr.splitlines()[-1]


def test_key_of_another_account(
    instance: Instance, fake_stripe: FakeStripe, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, and nothing is changed."""
    instance.save(fake_stripe.account.token())
    with FakeStripe() as other:
        monkeypatch.setenv("STRIPE_API_BASE", other.url)
        for words in (["reconcile"], ["reconcile", "--delete"], ["import", __file__]):
            done = run(*words)
            assert done.exit_code == 1
            assert "another account or mode" in done.stderr.splitlines()[-1]
