"""`coord-users import`: customers that exist at Stripe become their users' customers."""

from typing import Any

import pytest
from faults.call_faults import FAULTS, Fault, stripe_error
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from sqlalchemy import insert
from support.reconciling import (
    ISSUER,
    forget_row,
    hash_of,
    hide_subjects,
    import_lines,
    kinds,
    line,
    mark_as_version_1,
    reconcile,
    stray,
    stray_of,
)

from app.errors import ConfigurationError
from app.reconciliation import importing
from app.storage.tables import issuers, now, partners
from app.stripe_account.account import OutcomeUnknown


def outcomes(instance: Instance, *lines: bytes) -> list[tuple[str, bool]]:
    return [(one.outcome, one.is_left) for one in import_lines(instance, *lines)]


def why(instance: Instance, text: bytes) -> str:
    """Import one line, and return why it was left."""
    (one,) = import_lines(instance, text)
    assert one.is_left
    return one.outcome


def test_customer_becomes_its_users(instance: Instance, fake_stripe: FakeStripe) -> None:
    """Marked and stored; to import it twice changes nothing."""
    customer_id = stray(fake_stripe.account, more="kept")
    assert outcomes(instance, line(customer_id)) == [("imported", False)]
    metadata = fake_stripe.account.customers[customer_id].metadata
    started = metadata.pop("coord_started")
    assert started.isdecimal()
    assert metadata == {
        "more": "kept",
        "coord_installation": instance.installation,
        "coord_user": hash_of(instance, "user-1").hex(),
    }
    row = instance.row()
    assert (row.stripe_customer_id, row.issuer_id) == (customer_id, instance.user().issuer_id)
    assert row.last_updated is not None
    calls = len(fake_stripe.calls)
    assert outcomes(instance, line(customer_id)) == [("known", False)]
    assert {call.request.method for call in fake_stripe.calls[calls:]} == {"GET"}
    assert instance.row() == row
    assert reconcile(instance) == []
    assert instance.save(fake_stripe.account.token()) == customer_id
    assert instance.audit().is_clean, instance.audit()


def test_row_of_the_user_is_kept(instance: Instance, fake_stripe: FakeStripe) -> None:
    """It may be there without a customer, and may have been rebuilt without its subject."""
    customer_id = instance.save(fake_stripe.account.token())
    before = instance.row()
    instance.change(stripe_customer_id=None, token_hash=None)
    hide_subjects(instance)
    assert outcomes(instance, line(customer_id)) == [("imported", False)]
    row = instance.row()
    assert (row.id, row.stripe_customer_id) == (before.id, customer_id)
    hide_subjects(instance)
    assert outcomes(instance, line(customer_id)) == [("imported", False)]
    assert instance.row().last_updated == before.last_updated
    assert outcomes(instance, line(customer_id)) == [("known", False)]


def test_users_of_several_partners(instance: Instance, fake_stripe: FakeStripe) -> None:
    """The partner is needed where several have the issuer."""
    instance.user()
    with instance.database.writing() as connection:
        for name in ("Other", "Tester"):
            partner = connection.execute(
                insert(partners).values(name=name, created_at=now()).returning(partners.c.id)
            ).scalar_one()
            issuer = ISSUER if name == "Other" else "https://test.example/"
            values = {"issuer": issuer, "audience": "other", "created_at": now()}
            is_test = name == "Tester"
            connection.execute(
                insert(issuers).values(partner_id=partner, is_test=is_test, **values)
            )
    one, two = stray(fake_stripe.account), stray(fake_stripe.account)
    assert "several" in why(instance, line(one))
    assert outcomes(instance, line(one, partner="Acme"), line(two, partner="Other")) == [
        ("imported", False),
        ("imported", False),
    ]
    assert (
        fake_stripe.account.customers[one].metadata != fake_stripe.account.customers[two].metadata
    )
    assert "no registered issuer" in why(instance, line(one, partner="Nobody"))
    assert "test issuer" in why(instance, line(one, issuer="https://test.example/"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "is not valid JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "is not a JSON object"),
        (b"{}", "has no `issuer`"),
        (b'{"a": 1, "a": 2}', "has a name twice in one object"),
        (line("cus_1", email="x"), "has an unknown member: 'email'"),
        (line("cus_1", subject=""), "1 to 255"),
        (line("cus_1", subject="x" * 256), "1 to 255"),
        (line("cus_1", subject="\0"), "cannot be stored"),
        (line("cus_1", subject="\ud800"), "cannot be stored"),
        (line("cus_1", issuer="https://nobody.example/"), "no registered issuer"),
        (line("sub_1"), "no valid `stripe_customer_id`"),
        (line("cus_"), "no valid `stripe_customer_id`"),
        (line("cus_1 "), "no valid `stripe_customer_id`"),
        (line("cus_1").replace(b'"user-1"', b"1"), "not a string"),
    ],
)
def test_line_that_is_not_right_is_left(
    instance: Instance, fake_stripe: FakeStripe, text: bytes, reason: str
) -> None:
    """With its number; the others are imported."""
    customer_id = stray(fake_stripe.account)
    found = import_lines(instance, b"\n", text, b"  \r\n", line(customer_id, "user-2"))
    assert [one.number for one in found] == [2, 4]
    assert reason in found[0].outcome
    assert [one.is_left for one in found] == [True, False]


def test_lines_that_contradict_each_other(instance: Instance, fake_stripe: FakeStripe) -> None:
    """The first one counts, whichever is at work first."""
    one, two = stray(fake_stripe.account), stray(fake_stripe.account)
    assert outcomes(
        instance,
        line(one),
        line(two),
        line(one, "user-2"),
        line(one),
        line(two, "user-3"),
    ) == [
        ("imported", False),
        ("contradicts line 1", True),
        ("contradicts line 1", True),
        ("repeats line 1", False),
        ("contradicts line 2", True),
    ]


def test_what_contradicts_the_database_is_left(instance: Instance, fake_stripe: FakeStripe) -> None:
    stored = instance.save(fake_stripe.account.token())
    other = stray(fake_stripe.account)
    assert stored in why(instance, line(other))
    assert "is the customer of user" in why(instance, line(stored, "user-2"))
    assert fake_stripe.account.customers[other].metadata == {}
    instance.change(attempt_id="busy")
    assert "open attempt" in why(instance, line(stored))
    instance.change(attempt_id=None)


def test_what_contradicts_the_metadata_is_left(instance: Instance, fake_stripe: FakeStripe) -> None:
    instance.user()
    assert "another user" in why(instance, line(stray_of(instance, "user-2")))
    another = stray(fake_stripe.account, "another", "f" * 64)
    assert "another installation" in why(instance, line(another))
    instance.save(fake_stripe.account.token(), "user-3")
    instance.change("user-3", attempt_id="busy", lease_until=5.0, user_hash=b"other")
    assert "being changed" in why(instance, line(stray(fake_stripe.account, coord_attempt="busy")))
    instance.change("user-3", attempt_id=None, lease_until=None)


def test_customer_of_version_1_can_be_imported(instance: Instance, fake_stripe: FakeStripe) -> None:
    """After its database was lost, only the operator knows whose it is."""
    customer_id = instance.save(fake_stripe.account.token())
    mark_as_version_1(instance, customer_id, instance.row().id)
    forget_row(instance)
    assert kinds(reconcile(instance)) == ["unowned"]
    assert outcomes(instance, line(customer_id)) == [("imported", False)]
    assert reconcile(instance) == []


def test_customer_that_is_not_at_stripe_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    gone = stray(fake_stripe.account)
    fake_stripe.account.delete(gone)
    assert "was deleted" in why(instance, line(gone))
    assert "not known" in why(instance, line("cus_nobody"))


def test_customer_that_is_deleted_before_it_is_marked(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    customer_id = stray(fake_stripe.account)
    set_metadata = instance.stripe.set_metadata

    def deleted_before(*args: Any, **options: Any) -> Any:
        fake_stripe.account.delete(customer_id)
        return set_metadata(*args, **options)

    instance.stripe.set_metadata = deleted_before  # type: ignore[method-assign]
    assert "was deleted" in why(instance, line(customer_id))


def test_customer_that_stripe_does_not_let_mark_is_left(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    fake_stripe.fail(
        Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata")), times=None
    )
    assert "refuses to mark" in why(instance, line(stray(fake_stripe.account)))


@pytest.mark.parametrize("is_marked", [False, True])
def test_user_who_saves_a_card_meanwhile_keeps_that_customer(
    instance: Instance, fake_stripe: FakeStripe, is_marked: bool
) -> None:
    """The other one gets its metadata back: it must not count as a duplicate."""
    instance.user()
    customer_id = stray_of(instance) if is_marked else stray(fake_stripe.account, more="kept")
    before = dict(fake_stripe.account.customers[customer_id].metadata)
    token = fake_stripe.account.token()
    check = importing.Import._check_marks

    def saved_before(self: Any, marks: Any, line: Any) -> None:
        instance.save(token)
        check(self, marks, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing.Import, "_check_marks", saved_before)
        assert "meanwhile" in why(instance, line(customer_id))
    assert fake_stripe.account.customers[customer_id].metadata == before
    assert instance.row().stripe_customer_id == instance.acknowledged["user-1"].customer_id


def test_customer_that_another_row_gets_meanwhile(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """No two rows hold one customer: the statement that would do it changes nothing."""
    instance.save(fake_stripe.account.token(), "user-2")
    customer_id = stray(fake_stripe.account)
    check = importing.Import._check_marks

    def stored_before(self: Any, marks: Any, line: Any) -> None:
        instance.change("user-2", stripe_customer_id=customer_id)
        check(self, marks, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing.Import, "_check_marks", stored_before)
        assert "meanwhile" in why(instance, line(customer_id))
    assert instance.row("user-2").stripe_customer_id == customer_id


def test_progress_is_shown(
    instance: Instance, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PROGRESS", 10)
    lines = [line(stray(fake_stripe.account), f"user-{number}") for number in range(25)]
    shown: list[str] = []
    found = import_lines(instance, *lines, progress=shown.append)
    assert [one.outcome for one in found] == ["imported"] * 25
    assert shown == ["10 lines done", "20 lines done"]


def test_key_of_another_account_ends_the_run(
    url: str, instance: Instance, fake_stripe: FakeStripe
) -> None:
    instance.save(fake_stripe.account.token())
    with FakeStripe() as other, Instance(url, other) as misguided:
        customer_id = stray(other.account)
        with pytest.raises(ConfigurationError, match="another account or mode"):
            import_lines(misguided, line(customer_id, "user-2"))
        assert other.account.customers[customer_id].metadata == {}


def test_stripe_that_does_not_answer_ends_the_run(
    instance: Instance, fake_stripe: FakeStripe
) -> None:
    """At the start, or later; what is done by then stays done."""
    instance.save(fake_stripe.account.token(), "user-0")
    one, two = stray(fake_stripe.account), stray(fake_stripe.account)
    fake_stripe.fail(FAULTS["503"], times=None, method="GET")
    with pytest.raises(OutcomeUnknown):
        import_lines(instance, line(one))
    fake_stripe.heal()
    fake_stripe.fail(FAULTS["503"], times=None, method="POST")
    with pytest.raises(OutcomeUnknown):
        import_lines(instance, line(one), line(two, "user-2"))
    fake_stripe.heal()
    found = import_lines(instance, line(one), line(two, "user-2"))
    assert [one.is_left for one in found] == [False, False]
