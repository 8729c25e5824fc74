"""What the stand-in knows, in memory and, if asked for, in a file."""

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from app.sandbox.standin.problems import Object, no_such

# The account that this service serves. Others exist only as names, in `Stripe-Account`.
COORD = "acct_standin_coord"
KINDS = ("customers", "tokens", "payment_methods", "keys")

Params = Mapping[str, str]


class State:
    """Objects by kind and id; hold `lock` to change them.

    Members whose names begin with `_` are the stand-in's own, and never sent.

    Args:
        file: where the state survives a restart; nowhere if None.
        clock: seconds since the epoch.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self.clock = clock
        self.lock = threading.RLock()
        stored = json.loads(file.read_text("utf-8")) if file is not None and file.exists() else {}
        self._kinds: dict[str, dict[str, Object]] = {kind: stored.get(kind, {}) for kind in KINDS}
        self.customers = self._kinds["customers"]
        self.tokens = self._kinds["tokens"]
        self.payment_methods = self._kinds["payment_methods"]
        self.keys = self._kinds["keys"]
        for name, customer in self.customers.items():
            # A file of the first release lacks them.
            self.customers[name] = {
                "invoice_settings": {"default_payment_method": None},
                **customer,
            }

    def keep(self) -> None:
        """Write the state to its file, if it has one."""
        if self._file is not None:
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(self._kinds), "utf-8")
            new.replace(self._file)

    def now(self) -> int:
        """Return the time as Stripe's objects have it."""
        return int(self.clock())

    def customer(self, customer_id: str, param: str = "id", status: int = 404) -> Object:
        """Return a customer that is not deleted.

        Raises:
            StripeProblem: there is none.
        """
        with self.lock:
            customer = self.customers.get(customer_id)
        if customer is None or "deleted" in customer:
            raise no_such("customer", customer_id, param, status)
        return customer


def new_id(prefix: str) -> str:
    """Return an id that says what it is: `cus_standin_...`."""
    return f"{prefix}_standin_{secrets.token_hex(8)}"


def public(found: Object) -> Object:
    """Return an object as it is sent."""
    return {name: value for name, value in found.items() if name[0] != "_"}


def metadata(before: Mapping[str, str], params: Params) -> dict[str, str]:
    """Return metadata after a request (https://docs.stripe.com/api/metadata).

    An empty value removes its name, and an empty `metadata` all of them.
    """
    changed = {name[9:-1]: value for name, value in params.items() if name[:9] == "metadata["}
    kept = {} if params.get("metadata") == "" else before
    return {name: value for name, value in {**kept, **changed}.items() if value}


def page(found: Iterable[Object], url: str, params: Mapping[str, Any]) -> Object:
    """Return a page of a list (https://docs.stripe.com/api/pagination).

    Args:
        found: all items, the newest first. They are read no further than the page needs.
        url: of the list.
        params: `limit`, `starting_after` and `ending_before`.

    Raises:
        StripeProblem: a page ends or begins at an item that is not in the list.
    """
    items = iter(found)
    limit = int(params.get("limit") or 10)
    if (last := params.get("starting_after")) is not None:
        deque(_until(items, last, "starting_after"), maxlen=0)
    if (first := params.get("ending_before")) is not None:
        # Of the newer ones, those next to the item.
        items = iter(deque(_until(items, first, "ending_before"), maxlen=limit))
    data = list(islice(items, limit + 1))
    return {
        "object": "list",
        "url": url,
        "has_more": len(data) > limit,
        "data": [public(one) for one in data[:limit]],
    }


def _until(items: Iterator[Object], name: str, param: str) -> Iterator[Object]:
    """Yield the items before one, which is read as well."""
    for one in items:
        if one["id"] == name:
            return
        yield one
    raise no_such("object", name, param)


def texts(params: Params, names: tuple[str, ...]) -> dict[str, Any]:
    """Return those of the named parameters that are sent; an empty one is null."""
    return {name: params[name] or None for name in names if name in params}
