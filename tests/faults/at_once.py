"""Saves many cards of one user at the same moment."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from faults.instance import Instance

from app.errors import UsersApiError


def at_once(
    instances: Sequence[Instance], tokens: Sequence[str], subject: str = "user-1"
) -> list[str]:
    """Save all tokens at once, in turn by each instance; returns ids and codes in their order."""
    for instance in instances:
        instance.user(subject)
    together = threading.Barrier(len(tokens))

    def one(number: int) -> str:
        instance = instances[number % len(instances)]
        user = instance.user(subject)
        instance.fake_stripe.account.sent_by(subject, tokens[number])
        together.wait(10)
        try:
            return instance.customers.save_card(user, tokens[number])
        except UsersApiError as error:
            return error.code

    with ThreadPoolExecutor(len(tokens)) as threads:
        return list(threads.map(one, range(len(tokens))))
