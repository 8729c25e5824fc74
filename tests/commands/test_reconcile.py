"""`reconcile`, `installations`, `import` and `users`, as an operator runs them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from faults.double import Double
from faults.house import SECRET_KEY, House
from faults.scripted import FAULTS
from support.reconciling import forget_row, line, stray, stray_of

from app.errors import StripeUnavailable

Run = Callable[..., Result]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """Return a double of Stripe, which the commands call."""
    with Double() as running:
        monkeypatch.setenv("STRIPE_SECRET_KEY", SECRET_KEY)
        monkeypatch.setenv("STRIPE_API_BASE", running.url)
        yield running


@pytest.fixture
def house(database_url: str, double: Double) -> Iterator[House]:
    """Return the service on the commands' database."""
    with House(database_url, double) as running:
        yield running


def test_customers_come_back_after_a_restored_backup(
    house: House, double: Double, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 as long as anything is left, and nothing is deleted unless told so."""
    monkeypatch.setattr("app.customers.save_card.RETRY_PAUSES", ())
    double.fail(FAULTS["reset after execution"], times=None)
    with pytest.raises(StripeUnavailable):
        house.save(double.account.token(), "user-0")
    double.heal()
    house.let_leases_expire()
    customer_id = house.save(double.account.token())
    row_id = house.row("user-0").id
    forget_row(house)
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
    duplicate = stray_of(house)
    assert run("reconcile").exit_code == 1
    done = run("reconcile", "--delete")
    assert (done.exit_code, "deleted" in done.stdout) == (0, True)
    assert double.account.customers[duplicate].deleted
    house.save(double.account.token())
    assert house.audit().is_clean, house.audit()


def test_lost_database_is_rebuilt(
    house: House, double: Double, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installations at Stripe are listed without any database."""
    customer_id = stray(double.account, "a" * 32, "f" * 64)
    before = house.database.installation()
    with monkeypatch.context() as patch:
        patch.setattr("app.service.open_database", None)
        listed = run("installations").stdout.splitlines()
    assert listed[0].split() == ["installation", "customers", "newest"]
    assert listed[1].split()[:2] == ["a" * 32, "1"]
    assert run("reconcile", "--dry-run", "--from", "a" * 32).exit_code == 1
    assert house.database.installation() == before
    wrong = run("reconcile", "--from", "b" * 32)
    assert wrong.exit_code == 1
    assert "coord-users installations" in wrong.stderr.splitlines()[-1]
    done = run("reconcile", "--from", "a" * 32)
    assert done.exit_code == 0, done.stderr
    assert customer_id in done.stdout
    assert house.database.installation() == "a" * 32
    stray(double.account, "b" * 32, "f" * 64)
    refused = run("reconcile", "--from", "b" * 32)
    assert refused.exit_code == 1
    assert "users of its own" in refused.stderr.splitlines()[-1]


def test_import(house: House, double: Double, run: Run, tmp_path: Path) -> None:
    """Lines that are left are printed with their number, and the exit status is 1."""
    house.user()
    good, bad = stray(double.account), stray(double.account, "another")
    file = tmp_path / "customers.jsonl"
    file.write_bytes(line(good) + line(bad, "user-2"))
    done = run("import", str(file))
    assert done.exit_code == 1
    assert done.stdout == f"line 2\t{bad} belongs to another installation\n"
    assert done.stderr.splitlines()[-1] == "1 done, 1 left"
    file.write_bytes(line(good))
    assert run("import", str(file)).exit_code == 0
    assert house.row().stripe_customer_id == good


def test_users(house: House, double: Double, run: Run) -> None:
    """With what support needs to know: the last refusal, and an attempt that is open."""
    assert run("users").stdout == ""
    customer_id = house.save(double.account.token())
    house.save(double.account.token(), "user-2")
    house.change("user-1", refusal={"code": "card_declined"}, attempt_started_at=5.0)
    shown = json.loads(run("users", "--format", "jsonl", "--subject", "user-1").stdout)
    assert shown.pop("last_updated").startswith("20")
    assert shown == {
        "id": house.row().id,
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
    house: House, double: Double, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, soon."""
    house.save(double.account.token())
    monkeypatch.setenv("STRIPE_API_BASE", "http://127.0.0.1:9")
    done = run("reconcile")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "Stripe cannot be used" in done.stderr.splitlines()[-1]


def test_key_of_another_account(
    house: House, double: Double, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, and nothing is changed."""
    house.save(double.account.token())
    with Double() as other:
        monkeypatch.setenv("STRIPE_API_BASE", other.url)
        for words in (["reconcile"], ["reconcile", "--delete"], ["import", __file__]):
            done = run(*words)
            assert done.exit_code == 1
            assert "another account or mode" in done.stderr.splitlines()[-1]
