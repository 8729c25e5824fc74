"""The steps by which a card is saved at Stripe: each is one call that changes something.

    a token, saved as a source:         SOURCE (and SET_DEFAULT, if a PaymentMethod would hide it)
    a token, saved as a PaymentMethod:  MAKE_PM, then as below
    a PaymentMethod, no customer yet:   CREATE
    a PaymentMethod, has a customer:    ATTACH, SET_DEFAULT
    a user is to be forgotten:          FORGET

A step that is about to be sent is committed first, and it has an idempotency key of its own,
derived from the attempt's. A customer known to have a PaymentMethod as its default gets no source:
Stripe would still charge the PaymentMethod (https://docs.stripe.com/api/subscriptions/object).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

PAYMENT_METHOD_PREFIX = "pm_"
PAYMENT_METHOD = "payment_method"
Cards = Literal["source", "payment_method"]


class Step(StrEnum):
    """One call to Stripe; the value is stored in the row."""

    SOURCE = "source"
    MAKE_PM = "make_pm"
    CREATE = "create"
    ATTACH = "attach"
    SET_DEFAULT = "set_default"
    FORGET = "forget"

    @property
    def key_suffix(self) -> str:
        """What is added to the attempt's idempotency key for this step."""
        return KEY_SUFFIXES.get(self, "")


# SOURCE and CREATE both create the customer, and use the attempt's key as it is.
KEY_SUFFIXES = {Step.MAKE_PM: "-p", Step.ATTACH: "-a", Step.SET_DEFAULT: "-d"}


@dataclass(frozen=True)
class FirstSteps:
    """The step that an attempt begins with, by what the user has already.

    Attributes:
        of_new_user: no customer yet.
        of_customer: a customer whose default is a source, or not known.
        of_pm_customer: a customer whose default is a PaymentMethod.
    """

    of_new_user: Step
    of_customer: Step
    of_pm_customer: Step


def first_steps(token: str, cards: Cards) -> FirstSteps:
    """Return the first steps for a `tok_...` or `pm_...`."""
    if token.startswith(PAYMENT_METHOD_PREFIX):
        return FirstSteps(Step.CREATE, Step.ATTACH, Step.ATTACH)
    first = Step.MAKE_PM if cards == PAYMENT_METHOD else Step.SOURCE
    return FirstSteps(first, first, Step.MAKE_PM)
