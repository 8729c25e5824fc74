"""Stripe's test cards and test tokens, and what becomes of them when they are saved.

https://docs.stripe.com/testing
"""

from typing import NamedTuple


class Decline(NamedTuple):
    """Why a card is refused when it is saved."""

    code: str
    decline_code: str | None
    message: str


GENERIC = Decline("card_declined", "generic_decline", "Your card was declined.")
NO_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
WRONG_CVC = Decline("incorrect_cvc", None, "Your card's security code is incorrect.")
EXPIRED = Decline("expired_card", None, "Your card has expired.")
PROCESSING = Decline("processing_error", None, "An error occurred while processing your card.")
WRONG_ZIP = Decline("incorrect_zip", None, "The postal code that you supplied is incorrect.")

# Accepted any number of times, or refused any number of times.
TEST_TOKENS: dict[str, Decline | None] = {
    "tok_visa": None,
    "tok_visa_debit": None,
    "tok_mastercard": None,
    "tok_mastercard_debit": None,
    "tok_mastercard_prepaid": None,
    "tok_amex": None,
    "tok_discover": None,
    "tok_diners": None,
    "tok_jcb": None,
    "tok_unionpay": None,
    "tok_chargeDeclined": GENERIC,
    "tok_chargeDeclinedInsufficientFunds": NO_FUNDS,
    "tok_chargeDeclinedIncorrectCvc": WRONG_CVC,
    "tok_chargeDeclinedExpiredCard": EXPIRED,
    "tok_chargeDeclinedProcessingError": PROCESSING,
    # Ours: a code that the contract of the Users API does not list.
    "tok_standin_incorrectZip": WRONG_ZIP,
}
# Ours too: what else can be wrong with a token, by Stripe's codes; of the last two, one is listed
# nowhere, and one is a refusal without a code.
REFUSED_TOKENS: dict[str, str | None] = {
    "tok_standin_inUse": "token_in_use",
    "tok_standin_liveMode": "livemode_mismatch",
    "tok_standin_odd": "token_odd",
    "tok_standin_unnamed": None,
}
# And to show what a bad day looks like: the card is saved after half a minute, or Stripe answers
# with a status to so many calls under one key and saves the card then, so that who sends the same
# request again sees it converge. One request to the service makes three calls at most.
SLOW_TOKEN = "tok_standin_slow"  # noqa: S105 - no secret
TROUBLES = {"tok_standin_unavailable": (503, 3), "tok_standin_forbidden": (403, 1)}
DECLINED_NUMBERS = {
    "4000000000000002": GENERIC,
    "4000000000009995": NO_FUNDS,
    "4000000000000127": WRONG_CVC,
    "4000000000000069": EXPIRED,
    "4000000000000119": PROCESSING,
}


def is_card_number(number: str) -> bool:
    """Tell whether a card may have that number (ISO/IEC 7812-1, annex B)."""
    if not 12 <= len(number) <= 19 or not number.isdecimal():
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
