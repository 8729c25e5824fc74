"""Coord's account for long work: paced, and patient with a Stripe that does not answer."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from app.customers.pacer import Pacer
from app.stripe_account.account import Customer, OutcomeUnknown, StripeAccount

Item = TypeVar("Item")
Result = TypeVar("Result")

# How long one call may take, in seconds. No caller waits here.
CALL = 30.0
# Customers in one page of Stripe's list, which is the most that Stripe sends.
PAGE = 100
# Pauses before a call is repeated, in seconds. Together they outlast a minute, in which Stripe's
# rate limits and most of its incidents on record have passed.
PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
# Pauses of so many seconds and more are shown to the operator, who may wonder otherwise.
LONG_PAUSE = 5.0
# Stripe allows 25 calls a second for each operation. A change takes two slots of the pacer's 20 a
# second, so that more than half of that is left to the callers of the service.
SLOTS_OF_A_CHANGE = 2
# Calls in progress at once: enough for 20 calls a second at 0.4 s each.
SIDE_BY_SIDE = 8


class PacedAccount:
    """The calls of `reconcile` and `import`, at most 20 a second, all threads together.

    A call whose outcome is unknown is repeated after growing pauses. That is safe: each of them
    reads, or sets or deletes the same thing again.
    """

    def __init__(
        self,
        stripe: StripeAccount,
        progress: Callable[[str], None],
        pacer: Pacer | None = None,
    ) -> None:
        self._stripe = stripe
        self._progress = progress
        self._pacer = pacer or Pacer(threading.Event())

    def retrieve_once(self, customer_id: str) -> Customer:
        """Retrieve a customer, without repeating the call: see `retrieve`."""
        return self._stripe.retrieve(customer_id, timeout=CALL)

    def retrieve(self, customer_id: str) -> Customer:
        """Retrieve a customer as it is now.

        Raises:
            CustomerGone: it was deleted.
            CustomerUnknown: this account and mode never had it.
            Misconfigured: Stripe refuses the key.
            OutcomeUnknown: Stripe does not answer.
        """
        return self._patiently(lambda: self._stripe.retrieve(customer_id, timeout=CALL), 1)

    def set_metadata(self, customer_id: str, metadata: Mapping[str, str]) -> None:
        """Add to a customer's metadata.

        Raises:
            CustomerGone: Stripe does not find the customer.
            ParameterRefused: nothing was changed.
            Misconfigured, OutcomeUnknown: as for `retrieve`.
        """
        self._patiently(
            lambda: self._stripe.set_metadata(customer_id, metadata, timeout=CALL),
            SLOTS_OF_A_CHANGE,
        )

    def delete(self, customer_id: str) -> None:
        """Delete a customer for good.

        Raises:
            CustomerGone: Stripe does not find the customer.
            Misconfigured, OutcomeUnknown: as for `retrieve`.
        """
        self._patiently(lambda: self._stripe.delete(customer_id, timeout=CALL), SLOTS_OF_A_CHANGE)

    def pages(self, first: float, last: float) -> Iterator[list[Customer]]:
        """Yield the living customers created in a span of time, the newest first, by pages.

        A page that Stripe does not send is asked for again by its time. So the list goes on even if
        the customer from which it was to go on has been deleted in the meantime.

        Args:
            first: the beginning, in seconds since the epoch.
            last: the end.

        Raises:
            Misconfigured, OutcomeUnknown: as for `retrieve`.
        """
        recent: dict[str, int] = {}
        pauses = iter(PAUSES)
        listed = self._stripe.created_between(first, last, timeout=CALL)
        while True:
            self._pacer.wait()
            try:
                page = list(islice(listed, PAGE))
            except OutcomeUnknown as unknown:
                self._pause(unknown, pauses)
                listed = self._stripe.created_between(first, last, timeout=CALL)
                continue
            if not page:
                return
            new = [customer for customer in page if customer.id not in recent]
            if new:
                last, pauses = new[-1].created, iter(PAUSES)
                recent.update((customer.id, customer.created) for customer in new)
                # What a list that begins again at `last`, rounded up to a second, can repeat.
                recent = {name: at for name, at in recent.items() if at <= last + 1}
                yield new

    def _patiently(self, call: Callable[[], Result], slots: int) -> Result:
        pauses = iter(PAUSES)
        while True:
            for _ in range(slots):
                self._pacer.wait()
            try:
                return call()
            except OutcomeUnknown as unknown:
                self._pause(unknown, pauses)

    def _pause(self, unknown: OutcomeUnknown, pauses: Iterator[float]) -> None:
        """Wait for the next pause, or longer if Stripe asks for it; raise if none is left."""
        pause = next(pauses, None)
        if pause is None:
            raise unknown
        pause = max(pause, unknown.retry_after or 0)
        if pause >= LONG_PAUSE:
            self._progress(f"{unknown}; the next attempt is in {pause:g} s")
        time.sleep(pause)


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield a function's results in the order of the items, several of which are in progress.

    An exception of the function is raised here. Then, and if the iteration is given up, no further
    item is begun.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="paced") as threads:
        try:
            for item in items:
                waiting.append(threads.submit(function, item))
                if len(waiting) > SIDE_BY_SIDE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)
