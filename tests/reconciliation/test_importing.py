"""`coord-users import`: customers that exist at Stripe become their users' customers."""

from typing import Any

import pytest
from faults.double import Double
from faults.house import House
from faults.scripted import FAULTS, Fault, stripe_error
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


def outcomes(house: House, *lines: bytes) -> list[tuple[str, bool]]:
    return [(one.outcome, one.is_left) for one in import_lines(house, *lines)]


def why(house: House, text: bytes) -> str:
    """Import one line, and return why it was left."""
    (one,) = import_lines(house, text)
    assert one.is_left
    return one.outcome


def test_customer_becomes_its_users(house: House, double: Double) -> None:
    """Marked and stored; to import it twice changes nothing."""
    customer_id = stray(double.account, more="kept")
    assert outcomes(house, line(customer_id)) == [("imported", False)]
    metadata = double.account.customers[customer_id].metadata
    started = metadata.pop("coord_started")
    assert started.isdecimal()
    assert metadata == {
        "more": "kept",
        "coord_installation": house.installation,
        "coord_user": hash_of(house, "user-1").hex(),
    }
    row = house.row()
    assert (row.stripe_customer_id, row.issuer_id) == (customer_id, house.user().issuer_id)
    assert row.last_updated is not None
    calls = len(double.calls)
    assert outcomes(house, line(customer_id)) == [("known", False)]
    assert {call.request.method for call in double.calls[calls:]} == {"GET"}
    assert house.row() == row
    assert reconcile(house) == []
    assert house.save(double.account.token()) == customer_id
    assert house.audit().is_clean, house.audit()


def test_row_of_the_user_is_kept(house: House, double: Double) -> None:
    """It may be there without a customer, and may have been rebuilt without its subject."""
    customer_id = house.save(double.account.token())
    before = house.row()
    house.change(stripe_customer_id=None, token_hash=None)
    hide_subjects(house)
    assert outcomes(house, line(customer_id)) == [("imported", False)]
    row = house.row()
    assert (row.id, row.stripe_customer_id) == (before.id, customer_id)
    hide_subjects(house)
    assert outcomes(house, line(customer_id)) == [("imported", False)]
    assert house.row().last_updated == before.last_updated
    assert outcomes(house, line(customer_id)) == [("known", False)]


def test_users_of_several_partners(house: House, double: Double) -> None:
    """The partner is needed where several have the issuer."""
    house.user()
    with house.database.writing() as connection:
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
    one, two = stray(double.account), stray(double.account)
    assert "several" in why(house, line(one))
    assert outcomes(house, line(one, partner="Acme"), line(two, partner="Other")) == [
        ("imported", False),
        ("imported", False),
    ]
    assert double.account.customers[one].metadata != double.account.customers[two].metadata
    assert "no registered issuer" in why(house, line(one, partner="Nobody"))
    assert "test issuer" in why(house, line(one, issuer="https://test.example/"))


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
    house: House, double: Double, text: bytes, reason: str
) -> None:
    """With its number; the others are imported."""
    customer_id = stray(double.account)
    found = import_lines(house, b"\n", text, b"  \r\n", line(customer_id, "user-2"))
    assert [one.number for one in found] == [2, 4]
    assert reason in found[0].outcome
    assert [one.is_left for one in found] == [True, False]


def test_lines_that_contradict_each_other(house: House, double: Double) -> None:
    """The first one counts, whichever is at work first."""
    one, two = stray(double.account), stray(double.account)
    assert outcomes(
        house,
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


def test_what_contradicts_the_database_is_left(house: House, double: Double) -> None:
    stored = house.save(double.account.token())
    other = stray(double.account)
    assert stored in why(house, line(other))
    assert "is the customer of user" in why(house, line(stored, "user-2"))
    assert double.account.customers[other].metadata == {}
    house.change(attempt_id="busy")
    assert "open attempt" in why(house, line(stored))
    house.change(attempt_id=None)


def test_what_contradicts_the_metadata_is_left(house: House, double: Double) -> None:
    house.user()
    assert "another user" in why(house, line(stray_of(house, "user-2")))
    another = stray(double.account, "another", "f" * 64)
    assert "another installation" in why(house, line(another))
    house.save(double.account.token(), "user-3")
    house.change("user-3", attempt_id="busy", lease_until=5.0, user_hash=b"other")
    assert "being changed" in why(house, line(stray(double.account, coord_attempt="busy")))
    house.change("user-3", attempt_id=None, lease_until=None)


def test_customer_of_version_1_can_be_imported(house: House, double: Double) -> None:
    """After its database was lost, only the operator knows whose it is."""
    customer_id = house.save(double.account.token())
    mark_as_version_1(house, customer_id, house.row().id)
    forget_row(house)
    assert kinds(reconcile(house)) == ["unowned"]
    assert outcomes(house, line(customer_id)) == [("imported", False)]
    assert reconcile(house) == []


def test_customer_that_is_not_at_stripe_is_left(house: House, double: Double) -> None:
    gone = stray(double.account)
    double.account.delete(gone)
    assert "was deleted" in why(house, line(gone))
    assert "not known" in why(house, line("cus_nobody"))


def test_customer_that_is_deleted_before_it_is_marked(house: House, double: Double) -> None:
    customer_id = stray(double.account)
    set_metadata = house.stripe.set_metadata

    def deleted_before(*args: Any, **options: Any) -> Any:
        double.account.delete(customer_id)
        return set_metadata(*args, **options)

    house.stripe.set_metadata = deleted_before  # type: ignore[method-assign]
    assert "was deleted" in why(house, line(customer_id))


def test_customer_that_stripe_does_not_let_mark_is_left(house: House, double: Double) -> None:
    double.fail(
        Fault(executed=False, answer=stripe_error(400, "parameter_invalid", "metadata")), times=None
    )
    assert "refuses to mark" in why(house, line(stray(double.account)))


@pytest.mark.parametrize("is_marked", [False, True])
def test_user_who_saves_a_card_meanwhile_keeps_that_customer(
    house: House, double: Double, is_marked: bool
) -> None:
    """The other one gets its metadata back: it must not count as a duplicate."""
    house.user()
    customer_id = stray_of(house) if is_marked else stray(double.account, more="kept")
    before = dict(double.account.customers[customer_id].metadata)
    token = double.account.token()
    check = importing.Import._check_marks

    def saved_before(self: Any, marks: Any, line: Any) -> None:
        house.save(token)
        check(self, marks, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing.Import, "_check_marks", saved_before)
        assert "meanwhile" in why(house, line(customer_id))
    assert double.account.customers[customer_id].metadata == before
    assert house.row().stripe_customer_id == house.acknowledged["user-1"].customer_id


def test_customer_that_another_row_gets_meanwhile(house: House, double: Double) -> None:
    """No two rows hold one customer: the statement that would do it changes nothing."""
    house.save(double.account.token(), "user-2")
    customer_id = stray(double.account)
    check = importing.Import._check_marks

    def stored_before(self: Any, marks: Any, line: Any) -> None:
        house.change("user-2", stripe_customer_id=customer_id)
        check(self, marks, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing.Import, "_check_marks", stored_before)
        assert "meanwhile" in why(house, line(customer_id))
    assert house.row("user-2").stripe_customer_id == customer_id


def test_progress_is_shown(house: House, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PROGRESS", 10)
    lines = [line(stray(double.account), f"user-{number}") for number in range(25)]
    shown: list[str] = []
    found = import_lines(house, *lines, progress=shown.append)
    assert [one.outcome for one in found] == ["imported"] * 25
    assert shown == ["10 lines done", "20 lines done"]


def test_key_of_another_account_ends_the_run(url: str, house: House, double: Double) -> None:
    house.save(double.account.token())
    with Double() as other, House(url, other) as misguided:
        customer_id = stray(other.account)
        with pytest.raises(ConfigurationError, match="another account or mode"):
            import_lines(misguided, line(customer_id, "user-2"))
        assert other.account.customers[customer_id].metadata == {}


def test_stripe_that_does_not_answer_ends_the_run(house: House, double: Double) -> None:
    """At the start, or later; what is done by then stays done."""
    house.save(double.account.token(), "user-0")
    one, two = stray(double.account), stray(double.account)
    double.fail(FAULTS["503"], times=None, method="GET")
    with pytest.raises(OutcomeUnknown):
        import_lines(house, line(one))
    double.heal()
    double.fail(FAULTS["503"], times=None, method="POST")
    with pytest.raises(OutcomeUnknown):
        import_lines(house, line(one), line(two, "user-2"))
    double.heal()
    found = import_lines(house, line(one), line(two, "user-2"))
    assert [one.is_left for one in found] == [False, False]
