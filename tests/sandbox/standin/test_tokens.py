"""Tokens: each is used once, and what Stripe's test tokens stand for."""

from pathlib import Path

import pytest
import stripe
from support.stripe_sdk import COORD, Sdk

from app.sandbox.standin.account import Account
from app.sandbox.standin.cards import (
    DECLINED_NUMBERS,
    REFUSED_NUMBERS,
    REFUSED_TOKENS,
    TEST_TOKENS,
    TROUBLES,
    brand,
)
from app.sandbox.standin.problems import StripeProblem

GOOD = "4242424242424242"


def test_token_works_once(sdk: Sdk) -> None:
    """It carries its card, and shows whether it was used; the refusal has no `param`."""
    token = sdk.token()
    assert token.startswith("tok_standin_")
    found = sdk.get(f"tokens/{token}")
    assert (found["used"], found["card"]["last4"], found["card"]["brand"]) == (
        False,
        "4242",
        "visa",
    )
    first = sdk.post("customers", source=token)
    assert first["id"].startswith("cus_standin_")
    assert first["default_source"]
    error = sdk.refused("customers", 400, source=token)
    assert (error["code"], error.get("param")) == ("token_already_used", None)
    assert sdk.get(f"tokens/{token}")["used"]


def test_partners_customer_becomes_a_token_for_coord(sdk: Sdk) -> None:
    """As in Stripe's own example: `-d customer=cus_abc -H "Stripe-Account: acct_..."`."""
    theirs = sdk.customer(source="tok_visa")
    token = sdk.post("tokens", customer=theirs, stripe_account=COORD)["id"]
    assert sdk.customer(source=token) != theirs


def test_token_for_another_account_does_not_exist_for_coord(sdk: Sdk) -> None:
    theirs = sdk.customer(source="tok_visa")
    token = sdk.post("tokens", customer=theirs, stripe_account="acct_other")["id"]
    error = sdk.refused("customers", 400, source=token)
    assert (error["code"], error["param"]) == ("resource_missing", "source")
    assert sdk.not_found(f"tokens/{token}")["code"] == "resource_missing"


def test_customer_that_gives_no_token(sdk: Sdk) -> None:
    """Without a connected account, unknown, or with PaymentMethods only."""
    theirs = sdk.customer(source="tok_visa")
    assert sdk.refused("tokens", 400, customer=theirs)["param"] == "customer"
    error = sdk.refused("tokens", 400, customer="cus_none", stripe_account=COORD)
    assert error["code"] == "resource_missing"
    with_pm = sdk.customer(payment_method=sdk.payment_method())
    assert "code" not in sdk.refused("tokens", 400, customer=with_pm, stripe_account=COORD)


@pytest.mark.parametrize("number", ["4242424242424241", "42", "4242 4242 4242 424x"])
def test_number_of_no_card_is_refused(sdk: Sdk, number: str) -> None:
    with pytest.raises(stripe.CardError) as raised:
        sdk.token(number)
    assert (raised.value.code, raised.value.param) == ("incorrect_number", "number")


def test_token_of_nothing_is_refused(sdk: Sdk) -> None:
    assert sdk.refused("tokens", 400)["code"] == "parameter_missing"


@pytest.mark.parametrize("token", TEST_TOKENS)
def test_stripes_test_tokens(sdk: Sdk, token: str) -> None:
    """Those of good cards work any number of times, the others are refused each time."""
    decline = REFUSED_NUMBERS.get(TEST_TOKENS[token])
    assert not sdk.get(f"tokens/{token}")["used"]
    for _ in range(2):
        if decline is None:
            sdk.customer(source=token)
            continue
        error = sdk.refused("customers", 402, source=token)
        assert error["type"] == "card_error"
        assert error["code"] == decline.code
        assert error.get("decline_code") == decline.decline_code
        assert error["param"] == decline.param


@pytest.mark.parametrize("number", DECLINED_NUMBERS)
def test_test_cards_are_refused_when_saved(sdk: Sdk, number: str) -> None:
    """A token can be made of them; a refusal leaves it unused, and makes no customer."""
    token = sdk.token(number)
    for _ in range(2):
        error = sdk.refused("customers", 402, source=token)
        assert error["code"] == DECLINED_NUMBERS[number].code
    assert sdk.get("customers")["data"] == []


@pytest.mark.parametrize(("token", "code"), REFUSED_TOKENS.items())
def test_tokens_that_are_always_refused(sdk: Sdk, token: str, code: str | None) -> None:
    error = sdk.refused("customers", 400, source=token)
    assert (error.get("code"), error["param"]) == (code, "source")


@pytest.mark.parametrize("token", TROUBLES)
def test_bad_days_end(sdk: Sdk, token: str) -> None:
    """The same request, sent again with the same key, sees its card saved in the end."""
    trouble = TROUBLES[token]
    for _ in range(trouble.calls):
        error = sdk.refused("customers", trouble.status, source=token, idempotency_key="k1")
        assert error.get("code") == trouble.code
        assert sdk.headers.get("stripe-should-retry", "") == trouble.should_retry
    assert sdk.post("customers", source=token, key="k1")["default_source"]


def test_slow_day_saves_the_card_in_the_end() -> None:
    slept: list[float] = []
    account = Account(sleep=slept.append)
    customer = account.customers.create({"source": "tok_standin_slow"})
    assert slept == [30.0]
    assert customer["default_source"]


def test_token_in_use_by_another_request(tmp_path: Path) -> None:
    """Its second request is refused without `param`, and changes nothing."""
    account = Account(tmp_path / "state.json")
    token = account.tokens.create({"card[number]": GOOD}, None)["id"]

    def meanwhile(_number: str) -> dict[str, str]:
        with pytest.raises(StripeProblem) as raised:
            account.customers.create({"source": token})
        assert raised.value.code == "token_in_use"
        assert raised.value.error.get("param") is None
        return {}

    account.tokens.use(token, "", "source", meanwhile)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("378282246310005", "amex"),
        ("3056930009020004", "diners"),
        ("3566002020360505", "jcb"),
        ("6200000000000005", "unionpay"),
        ("6011111111111117", "discover"),
        ("5555555555554444", "mastercard"),
        ("9999999999999995", "unknown"),
    ],
)
def test_brand(number: str, name: str) -> None:
    assert brand(number) == name
