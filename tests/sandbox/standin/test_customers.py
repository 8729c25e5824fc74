"""Customers: created, changed, listed and deleted as at Stripe."""

import pytest
from support.stripe_sdk import Sdk


def test_customer_is_created_updated_retrieved_and_deleted(sdk: Sdk) -> None:
    made = sdk.post("customers", email="a@example.com", metadata={"one": "1"})
    assert made["default_source"] is None
    path = f"customers/{made['id']}"
    changed = sdk.post(path, description="d", metadata={"two": "2"}, source="tok_visa")
    assert (changed["id"], changed["email"], changed["description"]) == (
        made["id"],
        "a@example.com",
        "d",
    )
    found = sdk.get(path)
    assert found["metadata"] == {"one": "1", "two": "2"}
    assert found["default_source"] == changed["default_source"]
    assert not found["livemode"]
    left = {"id": made["id"], "object": "customer", "deleted": True}
    assert sdk.delete(path) == left
    assert sdk.get(path) == left
    for error in (sdk.refused(path, 404), sdk.not_found("customers/cus_none")):
        assert (error["code"], error["param"]) == ("resource_missing", "id")


def test_second_source_replaces_the_first(sdk: Sdk) -> None:
    """A PaymentMethod that is the default of invoices stays so: Stripe charges that one."""
    payment_method = sdk.payment_method()
    settings = {"default_payment_method": payment_method}
    made = sdk.post("customers", payment_method=payment_method, invoice_settings=settings)
    first = sdk.post(f"customers/{made['id']}", source="tok_visa")
    second = sdk.post(f"customers/{made['id']}", source="tok_mastercard")
    assert first["default_source"] != second["default_source"]
    assert second["invoice_settings"]["default_payment_method"] == payment_method


def test_refused_update_changes_nothing(sdk: Sdk) -> None:
    made = sdk.post("customers", source="tok_visa")
    path = f"customers/{made['id']}"
    sdk.refused(path, 402, source="tok_chargeDeclined", metadata={"a": "b"})
    assert sdk.get(path) == made


def test_metadata_is_added_and_removed(sdk: Sdk) -> None:
    """https://docs.stripe.com/api/metadata."""
    made = sdk.post("customers", metadata={"one": "1", "two": "2"})
    path = f"customers/{made['id']}"
    assert sdk.post(path, metadata={"one": "", "three": "3"})["metadata"] == {
        "two": "2",
        "three": "3",
    }
    assert sdk.post(path, metadata="")["metadata"] == {}


def test_email_that_is_not_valid_is_refused(sdk: Sdk) -> None:
    error = sdk.refused("customers", 400, email="nobody")
    assert (error["code"], error["param"]) == ("email_invalid", "email")


def test_parameters_that_stripe_takes_are_taken(sdk: Sdk) -> None:
    """Also those that have no effect here."""
    made = sdk.post(
        "customers",
        name="A",
        phone="1",
        tax_exempt="exempt",
        address={"line1": "x"},
        shipping={"name": "A", "address": {"line1": "x"}},
        preferred_locales=["en"],
        balance=3,
        expand=["sources"],
    )
    assert (made["name"], made["phone"], made["tax_exempt"]) == ("A", "1", "exempt")
    assert sdk.post(f"customers/{made['id']}", name="")["name"] is None


@pytest.mark.usefixtures("off_document")
def test_parameter_that_stripe_does_not_take_is_refused(sdk: Sdk) -> None:
    """Of the form and of the query, and `payment_method` on an update."""
    made = sdk.customer()
    error = sdk.refused("customers", 400, odd="1")
    assert (error["code"], error["param"]) == ("parameter_unknown", "odd")
    error = sdk.refused(f"customers/{made}", 400, payment_method="pm_1")
    assert (error["code"], error["param"]) == ("parameter_unknown", "payment_method")
    assert sdk.not_found("customers", 400, odd="1")["code"] == "parameter_unknown"


def test_pm_is_not_a_source(sdk: Sdk) -> None:
    """As reported in functions-samples#621."""
    error = sdk.refused("customers", 400, source=sdk.payment_method())
    assert "code" not in error


def test_customers_are_listed_in_pages_the_newest_first(sdk: Sdk) -> None:
    made = [sdk.customer() for _ in range(5)]
    sdk.delete(f"customers/{made[2]}")
    first = sdk.get("customers", limit=3)
    assert [one["id"] for one in first["data"]] == [made[4], made[3], made[1]]
    assert first["has_more"]
    second = sdk.get("customers", limit=3, starting_after=made[1])
    assert [one["id"] for one in second["data"]] == [made[0]]
    assert not second["has_more"]
    before = sdk.get("customers", limit=1, ending_before=made[1])
    assert [one["id"] for one in before["data"]] == [made[3]]
    assert sdk.not_found("customers", 400, starting_after=made[2])["param"] == "starting_after"


def test_customers_are_listed_by_creation_and_email(sdk: Sdk) -> None:
    made = sdk.post("customers", email="a@example.com")
    at = made["created"]
    for created in ({"gte": at, "lte": at}, at, {"gt": at - 1, "lt": at + 1}):
        assert sdk.get("customers", created=created)["data"]
    for created in ({"gte": at + 1}, {"lte": at - 1}, {"gt": at}, {"lt": at}):
        assert not sdk.get("customers", created=created)["data"]
    assert sdk.get("customers", email="a@example.com")["data"]
    assert not sdk.get("customers", email="b@example.com")["data"]
