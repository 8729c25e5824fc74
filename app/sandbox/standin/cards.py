"""Stripe's test cards and test ids, and what happens when they are saved.

https://docs.stripe.com/testing
"""

from typing import NamedTuple

from app.sandbox.standin.problems import Object, StripeProblem


class Decline(NamedTuple):
    """Why a card is refused when it is saved."""

    code: str
    decline_code: str | None
    message: str
    param: str = ""


GENERIC = Decline("card_declined", "generic_decline", "Your card was declined.")
NO_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
WRONG_CVC = Decline("incorrect_cvc", None, "Your card's security code is incorrect.", "cvc")
EXPIRED = Decline("expired_card", None, "Your card has expired.", "exp_month")
PROCESSING = Decline("processing_error", None, "An error occurred while processing your card.")
WRONG_ZIP = Decline(
    "incorrect_zip", None, "The postal code that you supplied is incorrect.", "address_zip"
)

GOOD_NUMBER = "4242424242424242"
DECLINED_NUMBERS = {
    "4000000000000002": GENERIC,
    "4000000000009995": NO_FUNDS,
    "4000000000000127": WRONG_CVC,
    "4000000000000069": EXPIRED,
    "4000000000000119": PROCESSING,
}
# The stand-in's own number: a code that the contract of the Users API does not list.
WRONG_ZIP_NUMBER = "4000000000000036"
REFUSED_NUMBERS = {**DECLINED_NUMBERS, WRONG_ZIP_NUMBER: WRONG_ZIP}

# Test tokens, by the card that they stand for. They can be used any number of times.
TEST_TOKENS = {
    "tok_visa": GOOD_NUMBER,
    "tok_visa_debit": "4000056655665556",
    "tok_mastercard": "5555555555554444",
    "tok_mastercard_debit": "5200828282828210",
    "tok_mastercard_prepaid": "5105105105105100",
    "tok_amex": "378282246310005",
    "tok_discover": "6011111111111117",
    "tok_diners": "3056930009020004",
    "tok_jcb": "3566002020360505",
    "tok_unionpay": "6200000000000005",
    # Attaches, and is refused when it is charged.
    "tok_chargeCustomerFail": "4000000000000341",
    "tok_chargeDeclined": "4000000000000002",
    "tok_chargeDeclinedInsufficientFunds": "4000000000009995",
    "tok_chargeDeclinedIncorrectCvc": "4000000000000127",
    "tok_chargeDeclinedExpiredCard": "4000000000000069",
    "tok_chargeDeclinedProcessingError": "4000000000000119",
    "tok_standin_incorrectZip": WRONG_ZIP_NUMBER,
}
# Test PaymentMethods: `pm_card_visa` is the card of `tok_visa`.
TEST_PAYMENT_METHODS = {
    f"pm_card_{name.removeprefix('tok_')}": number
    for name, number in TEST_TOKENS.items()
    if "standin" not in name
}
# What else can be wrong with a token, by Stripe's code; of the last two, one code is listed
# nowhere, and one refusal has no code.
REFUSED_TOKENS: dict[str, str | None] = {
    "tok_standin_liveMode": "livemode_mismatch",
    "tok_standin_odd": "token_odd",
    "tok_standin_unnamed": None,
}
# To show a bad day, the card is saved after half a minute, or Stripe refuses so many calls under
# one key and saves the card then, so that the same request, sent again, converges. One request to
# the service makes three calls at most.
SLOW_TOKEN = "tok_standin_slow"  # noqa: S105 - not a secret


class Trouble(NamedTuple):
    """What some calls are answered before one succeeds."""

    calls: int
    status: int
    type: str = "api_error"
    code: str | None = None
    should_retry: str = ""


TROUBLES = {
    "tok_standin_unavailable": Trouble(3, 503),
    "tok_standin_forbidden": Trouble(1, 403, "invalid_request_error"),
    "tok_standin_inUse": Trouble(3, 400, "invalid_request_error", "token_in_use"),
    "tok_standin_locked": Trouble(1, 429, "invalid_request_error", "lock_timeout", "true"),
    "tok_standin_limited": Trouble(1, 429, "invalid_request_error", "rate_limit", "false"),
}

BRANDS = {"3": "jcb", "4": "visa", "5": "mastercard", "6": "discover"}


def brand(number: str) -> str:
    """Return the brand of a card by its number (ISO/IEC 7812-1, annex B), roughly."""
    if number[:2] in ("34", "37"):
        return "amex"
    if number[:2] in ("30", "36", "38"):
        return "diners"
    return "unionpay" if number[:2] == "62" else BRANDS.get(number[:1], "unknown")


def is_card_number(number: str) -> bool:
    """Return whether a card may have that number (ISO/IEC 7812-1, annex B)."""
    if not 12 <= len(number) <= 19 or not number.isdecimal():
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def require_accepted(number: str) -> None:
    """Do what the bank does when a card is saved.

    Raises:
        StripeProblem: the card is refused.
    """
    decline = REFUSED_NUMBERS.get(number)
    if decline is None:
        return
    is_declined = decline.code == "card_declined"
    raise StripeProblem(
        402,
        decline.message,
        headers={"Stripe-Should-Retry": "false"},
        type="card_error",
        code=decline.code,
        decline_code=decline.decline_code,
        param=decline.param,
        advice_code="try_again_later" if is_declined else None,
        network_decline_code="01" if is_declined else None,
    )


def details(number: str, exp_month: int = 12, exp_year: int = 2034) -> Object:
    """Return the members that a card of a token, a source and a PaymentMethod have in common."""
    return {
        "brand": brand(number),
        "country": "US",
        "exp_month": exp_month,
        "exp_year": exp_year,
        "fingerprint": f"standin{number[:2]}{number[-6:]}",
        "funding": "debit" if number in ("4000056655665556", "5200828282828210") else "credit",
        "last4": number[-4:],
        "regulated_status": "unregulated",
    }
