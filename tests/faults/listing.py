"""The list of customers of the fake Stripe: https://docs.stripe.com/api/customers/list."""

import json
from collections.abc import Iterable

from faults.call_faults import stripe_error
from faults.records import Customer
from faults.wire import Answer


def page(customers: Iterable[Customer], query: dict[str, str]) -> Answer:
    """Return one page, the newest first; deleted customers are left out."""
    living = [one for one in customers if not one.deleted]
    # Of those made within a second, the last one first.
    living.reverse()
    newest_first = sorted(living, key=lambda one: one.created, reverse=True)
    after = query.get("starting_after")
    if after is not None:
        ids = [one.id for one in newest_first]
        if after not in ids:
            # So does Stripe where the customer was deleted in the meantime.
            return stripe_error(400, "resource_missing", "starting_after")
        newest_first = newest_first[ids.index(after) + 1 :]
    first = int(query.get("created[gte]", "0"))
    last = int(query.get("created[lte]", str(2**40)))
    fitting = [one for one in newest_first if first <= one.created <= last]
    limit = int(query.get("limit", "10"))
    found = {
        "object": "list",
        "url": "/v1/customers",
        "has_more": len(fitting) > limit,
        "data": [one.to_dict() for one in fitting[:limit]],
    }
    return Answer(200, json.dumps(found).encode())
