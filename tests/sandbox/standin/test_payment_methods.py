"""PaymentMethods: made in each way, attached once, detached for good."""

from typing import Any

import pytest
from support.stripe_sdk import COORD, Sdk

from app.sandbox.standin import payment_methods
from app.sandbox.standin.server import StandIn

DECLINED = "4000000000000002"


def with_default(sdk: Sdk, payment_method: str, **params: Any) -> Any:
    settings = {"default_payment_method": payment_method}
    return sdk.post("customers", payment_method=payment_method, invoice_settings=settings, **params)


def test_token_becomes_a_payment_method(sdk: Sdk) -> None:
    """Attached to no customer, with the bank not asked yet; the token is spent by that."""
    token = sdk.token()
    made = sdk.post(
        "payment_methods",
        type="card",
        card={"token": token},
        metadata={"a": "b"},
        billing_details={"email": "a@example.com"},
    )
    assert made["id"].startswith("pm_standin_")
    assert made["customer"] is None
    assert made["metadata"] == {"a": "b"}
    assert made["card"]["last4"] == "4242"
    assert made["card"]["checks"]["cvc_check"] == "unchecked"
    assert sdk.get(f"payment_methods/{made['id']}") == made
    again = sdk.refused("payment_methods", 400, type="card", card={"token": token})
    assert again["code"] == "token_already_used"


def test_token_of_a_declined_card_becomes_one_too(sdk: Sdk) -> None:
    """No bank is asked before the PaymentMethod is attached."""
    name = sdk.payment_method(sdk.token(DECLINED))
    error = sdk.refused("customers", 402, payment_method=name)
    assert (error["code"], error["param"]) == ("card_declined", "")
    assert error["advice_code"] == "try_again_later"
    assert sdk.get("customers")["data"] == []
    customer = sdk.customer()
    assert sdk.refused(f"payment_methods/{name}/attach", 402, customer=customer)
    assert sdk.get(f"payment_methods/{name}")["customer"] is None


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"type": "card", "card": {"token": "tok_none"}}, "resource_missing", "card[token]"),
        ({"type": "card"}, "parameter_missing", "card"),
        ({}, "parameter_missing", "type"),
        ({"type": "sepa_debit"}, None, "type"),
    ],
)
def test_nothing_becomes_no_payment_method(
    sdk: Sdk, params: dict[str, Any], code: str | None, param: str
) -> None:
    error = sdk.refused("payment_methods", 400, **params)
    assert (error.get("code"), error["param"]) == (code, param)


def test_customer_is_created_with_one_as_default(sdk: Sdk) -> None:
    """In one call, with both parameters; the bank is asked."""
    name = sdk.payment_method()
    customer = with_default(sdk, name)
    assert customer["invoice_settings"]["default_payment_method"] == name
    assert customer["default_source"] is None
    attached = sdk.get(f"payment_methods/{name}")
    assert attached["customer"] == customer["id"]
    assert attached["card"]["checks"]["cvc_check"] == "pass"


def test_payment_method_alone_sets_no_default(sdk: Sdk) -> None:
    """As in 1,367 of 1,367 recorded answers of Stripe."""
    made = sdk.post("customers", payment_method=sdk.payment_method())
    assert made["invoice_settings"]["default_payment_method"] is None


def test_second_one_is_attached_and_then_made_the_default(sdk: Sdk) -> None:
    """The other way round is refused; the first stays attached."""
    first, second = sdk.payment_method(), sdk.payment_method()
    customer = with_default(sdk, first)["id"]
    settings = {"default_payment_method": second}
    error = sdk.refused(f"customers/{customer}", 400, invoice_settings=settings)
    assert error["code"] == "resource_missing"
    assert error["param"] == "invoice_settings[default_payment_method]"
    attached = sdk.post(f"payment_methods/{second}/attach", customer=customer)
    assert (attached["id"], attached["customer"]) == (second, customer)
    changed = sdk.post(f"customers/{customer}", invoice_settings=settings)
    assert changed["invoice_settings"]["default_payment_method"] == second
    both = sdk.get(f"customers/{customer}/payment_methods")
    assert [one["id"] for one in both["data"]] == [second, first]
    assert sdk.get("payment_methods", customer=customer)["data"] == both["data"]
    assert sdk.get(f"customers/{customer}/payment_methods", type="link")["data"] == []
    of_customer = sdk.get(f"customers/{customer}/payment_methods/{first}")
    assert of_customer["id"] == first
    other = sdk.payment_method()
    assert sdk.not_found(f"customers/{customer}/payment_methods/{other}")["code"]


def test_attached_one_is_not_attached_again(sdk: Sdk) -> None:
    """To another customer or to the same: 400 with neither code nor parameter."""
    name, other = sdk.payment_method(), sdk.customer()
    customer = with_default(sdk, name)["id"]
    for whose in (other, customer):
        error = sdk.refused(f"payment_methods/{name}/attach", 400, customer=whose)
        assert ("code" in error, "param" in error) == (False, False)
        assert sdk.headers["stripe-should-retry"] == "false"
    error = sdk.refused("customers", 400, payment_method=name)
    assert "code" not in error


def test_detached_one_is_spent(sdk: Sdk) -> None:
    """It is no default any more, and looks like one that was never used."""
    name = sdk.payment_method()
    customer = with_default(sdk, name)["id"]
    assert sdk.post(f"payment_methods/{name}/detach")["customer"] is None
    found = sdk.get(f"customers/{customer}")
    assert found["invoice_settings"]["default_payment_method"] is None
    error = sdk.refused(f"payment_methods/{name}/attach", 400, customer=customer)
    assert "code" not in error
    assert "code" not in sdk.refused(f"payment_methods/{name}/detach", 400)
    kept, dropped = sdk.payment_method(), sdk.payment_method()
    customer = with_default(sdk, kept)["id"]
    sdk.post(f"payment_methods/{dropped}/attach", customer=customer)
    sdk.post(f"payment_methods/{dropped}/detach")
    found = sdk.get(f"customers/{customer}")
    assert found["invoice_settings"]["default_payment_method"] == kept


def test_deleted_customer_takes_its_cards_along(sdk: Sdk) -> None:
    name = sdk.payment_method()
    customer = with_default(sdk, name)["id"]
    sdk.delete(f"customers/{customer}")
    assert sdk.get(f"payment_methods/{name}")["customer"] is None
    assert "code" not in sdk.refused("customers", 400, payment_method=name)
    fresh = sdk.payment_method()
    error = sdk.refused(f"payment_methods/{fresh}/attach", 400, customer=customer)
    assert (error["code"], error["param"]) == ("resource_missing", "customer")
    assert sdk.not_found(f"customers/{customer}/payment_methods")["param"] == "customer"


def test_unknown_one(sdk: Sdk) -> None:
    """404 in the path, 400 in the body."""
    customer = sdk.customer()
    for error in (
        sdk.not_found("payment_methods/pm_none"),
        sdk.refused("payment_methods/pm_none/attach", 404, customer=customer),
        sdk.refused("customers", 400, payment_method="pm_none"),
    ):
        assert (error["code"], error["param"]) == ("resource_missing", "payment_method")


def test_attach_needs_a_customer_and_a_payment_method(sdk: Sdk) -> None:
    error = sdk.refused(f"payment_methods/{sdk.payment_method()}/attach", 400)
    assert error["code"] == "parameter_missing"
    error = sdk.refused("payment_methods/tok_visa/attach", 400, customer=sdk.customer())
    assert ("code" in error, error["param"]) == (False, "payment_method")


def test_customer_can_have_only_so_many(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payment_methods, "MOST", 1)
    customer = with_default(sdk, sdk.payment_method())["id"]
    error = sdk.refused(f"payment_methods/{sdk.payment_method()}/attach", 400, customer=customer)
    assert error["code"] == "customer_max_payment_methods"


# Clones for a connected account (https://docs.stripe.com/connect/direct-charges-multiple-accounts).


def test_partners_payment_method_is_cloned_for_coord(sdk: Sdk) -> None:
    """The clone is a new one, attached to no customer and without metadata."""
    theirs = sdk.post(
        "payment_methods", type="card", card={"token": "tok_visa"}, metadata={"a": "b"}
    )["id"]
    customer = with_default(sdk, theirs)["id"]
    clone = sdk.post(
        "payment_methods", customer=customer, payment_method=theirs, stripe_account=COORD
    )
    assert clone["id"] != theirs
    assert (clone["customer"], clone["metadata"]) == (None, {})
    assert with_default(sdk, clone["id"])["id"] != customer


def test_clone_for_another_account_does_not_exist_for_coord(sdk: Sdk) -> None:
    theirs = sdk.payment_method()
    customer = with_default(sdk, theirs)["id"]
    clone = sdk.post(
        "payment_methods", customer=customer, payment_method=theirs, stripe_account="acct_other"
    )
    assert sdk.refused("customers", 400, payment_method=clone["id"])["code"] == "resource_missing"


def test_clone_without_a_customer_spends_the_original(sdk: Sdk) -> None:
    """And is refused for one that is attached."""
    theirs = sdk.payment_method()
    sdk.post("payment_methods", payment_method=theirs, stripe_account=COORD)
    again = sdk.refused("payment_methods", 400, payment_method=theirs, stripe_account=COORD)
    assert "code" not in again
    attached = sdk.payment_method()
    with_default(sdk, attached)
    assert sdk.refused("payment_methods", 400, payment_method=attached, stripe_account=COORD)


def test_clone_names_its_account_and_its_own_customer(sdk: Sdk) -> None:
    theirs = sdk.payment_method()
    with_default(sdk, theirs)
    assert sdk.refused("payment_methods", 400, payment_method=theirs)["param"] == "payment_method"
    error = sdk.refused(
        "payment_methods",
        400,
        payment_method=theirs,
        customer=sdk.customer(),
        stripe_account=COORD,
    )
    assert error["code"] == "resource_missing"


# Stripe's test ids (https://docs.stripe.com/testing).


def test_test_id_is_copied_when_it_is_attached(sdk: Sdk) -> None:
    """As recorded: the answer has a new id, each time."""
    customer = sdk.customer()
    copies = {
        sdk.post("payment_methods/pm_card_visa/attach", customer=customer)["id"] for _ in range(2)
    }
    assert len(copies) == 2
    assert "pm_card_visa" not in copies
    assert sdk.get("payment_methods/pm_card_visa")["customer"] is None


def test_customer_is_not_created_with_a_test_id(sdk: Sdk) -> None:
    settings = {"default_payment_method": "pm_card_visa"}
    error = sdk.refused("customers", 400, payment_method="pm_card_visa", invoice_settings=settings)
    assert error["code"] == "resource_missing"
    assert error["param"] == "invoice_settings[default_payment_method]"


def test_test_ids_that_fail(sdk: Sdk) -> None:
    """One is refused when it is attached, the other only when it is charged."""
    customer = sdk.customer()
    sdk.refused("payment_methods/pm_card_chargeDeclined/attach", 402, customer=customer)
    sdk.post("payment_methods/pm_card_chargeCustomerFail/attach", customer=customer)


def test_payment_method_for_the_sandbox_works(sdk: Sdk, standin: StandIn) -> None:
    with_default(sdk, standin.new_payment_method())
    error = sdk.refused("customers", 402, payment_method=standin.new_payment_method(DECLINED))
    assert error["code"] == "card_declined"
