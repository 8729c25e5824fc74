"""What this service believes of Stripe, as questions that Stripe can answer.

Each function asks one, and returns what matters of the answers: the same each time, without ids.
Those that begin the sentence with "Open" are asked because no source has the answer.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from live import questions_on_cards as cards
from live.api import Api
from live.questions_on_cards import Finding, with_default

# A burst that is above every limit that Stripe documents for a sandbox (25 a second).
BURST = 60


def create(api: Api) -> Finding:
    """A customer with a source has it as default source, and no default PaymentMethod."""
    made = api.post("customers", source="tok_visa", metadata={"coord_attempt": "a"})
    return made.brief() | {
        "has default_source": made["default_source"] is not None,
        "has default_payment_method": made.default() is not None,
        "metadata": made["metadata"],
    }


def update(api: Api) -> Finding:
    """A second source becomes the default source."""
    customer = api.post("customers", source="tok_visa")
    changed = api.post(f"customers/{customer['id']}", source="tok_mastercard")
    return changed.brief() | {"is new": changed["default_source"] != customer["default_source"]}


def declined(api: Api) -> Finding:
    """A declined card makes no customer."""
    return {
        token: api.post("customers", source=token).brief()
        for token in (
            "tok_chargeDeclined",
            "tok_chargeDeclinedInsufficientFunds",
            "tok_chargeDeclinedIncorrectCvc",
            "tok_chargeDeclinedExpiredCard",
            "tok_chargeDeclinedProcessingError",
        )
    }


def unknown_token(api: Api) -> Finding:
    """An unknown token is 400 `resource_missing` on `source`: `coord-users check` leans on it."""
    return api.post("customers", source="tok_coord_users_check").brief()


def used_token(api: Api) -> Finding:
    """A token works once, and its refusal has no `param`."""
    card = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2034", "cvc": "123"}
    token = api.post("tokens", card=card)
    if token.status != 200:
        # Stripe takes numbers only from accounts that it allows to send them.
        return {"not asked": token.brief()}
    before = api.get(f"tokens/{token['id']}")["used"]
    first = api.post("customers", source=token["id"])
    return {
        "used before": before,
        "first": first.brief(),
        "used after": api.get(f"tokens/{token['id']}")["used"],
        "second": api.post("customers", source=token["id"]).brief(),
    }


def deleted(api: Api) -> Finding:
    """Open: what do calls say that name a deleted customer? GET is certain."""
    customer = with_default(api, api.payment_method())["id"]
    path = f"customers/{customer}"
    api.delete(path)
    found = api.get(path)
    return {
        "get": found.brief() | {"members": sorted(found.body)},
        "update": api.post(path, source="tok_visa").brief(),
        "attach": api.post(
            f"payment_methods/{api.payment_method()}/attach", customer=customer
        ).brief(),
        "list": api.get(f"{path}/payment_methods").brief(),
        "delete": api.delete(path).brief(),
        "unknown": api.get("customers/cus_coord_users_check").brief(),
    }


def keys(api: Api) -> Finding:
    """The first answer to an idempotency key is sent again; other parameters are a mismatch."""
    key = f"coord-users-live-{time.time_ns()}"
    first = api.post("customers", key, source="tok_visa")
    again = api.post("customers", key, source="tok_visa")
    refused = [api.post("customers", f"{key}-2", source="tok_chargeDeclined") for _ in range(2)]
    missing = [api.post("customers", f"{key}-3", source="tok_none") for _ in range(2)]
    return {
        "again": again.brief() | {"same": again["id"] == first["id"]},
        "other parameters": api.post("customers", key, source="tok_mastercard").brief(),
        "refused again": refused[1].brief(),
        "unknown token again": missing[1].brief(),
    }


def lists(api: Api) -> Finding:
    """The list of customers is up to date at once."""
    made = api.post("customers", metadata={"coord_attempt": "a"})
    at = made["created"]
    page = api.get("customers", created={"gte": at, "lte": at + 1}, limit=100)
    return page.brief() | {"is there": made["id"] in [one["id"] for one in page["data"]]}


def parameters(api: Api) -> Finding:
    """Unknown parameters, an odd e-mail address, an odd path."""
    return {
        "unknown": api.post("customers", coord_unknown="1").brief(),
        "email": api.post("customers", email="nobody").brief(),
        "path": api.post("custmers").brief(),
    }


def burst(api: Api) -> Finding:
    """Sixty creations at once: how many are refused, and what do the refusals say?"""
    began = time.monotonic()
    with ThreadPoolExecutor(BURST) as threads:
        replies = list(threads.map(lambda _: api.post("customers"), range(BURST)))
    limited = [reply for reply in replies if reply.status == 429]
    return {
        "seconds": round(time.monotonic() - began, 1),
        "statuses": dict(Counter(str(reply.status) for reply in replies)),
        "refusal": limited[0].brief() if limited else None,
    }


def rights(restricted: Api) -> Finding:
    """What a key with too few rights is answered: to each call that the service makes."""
    return {
        "create": restricted.post("customers", source="tok_coord_users_check").brief(),
        "create with payment method": restricted.post(
            "customers", payment_method="pm_coord_users_check"
        ).brief(),
        "payment method": restricted.post(
            "payment_methods", type="card", card={"token": "tok_coord_users_check"}
        ).brief(),
        "attach": restricted.post(
            "payment_methods/pm_coord_users_check/attach", customer="cus_coord_users_check"
        ).brief(),
        "retrieve": restricted.get("customers/cus_coord_users_check").brief(),
        "retrieve payment method": restricted.get("payment_methods/pm_coord_users_check").brief(),
        "retrieve token": restricted.get("tokens/tok_coord_users_check").brief(),
        "list": restricted.get("customers", limit=1).brief(),
    }


QUESTIONS: tuple[Callable[[Api], Finding], ...] = (
    create,
    update,
    declined,
    unknown_token,
    used_token,
    cards.token_to_payment_method,
    cards.unknown_payment_method,
    cards.pair,
    cards.declined_payment_method,
    cards.replace,
    cards.attach_twice,
    cards.detached,
    cards.source_beside_a_default,
    cards.empty_default,
    cards.test_ids,
    cards.mixed_up,
    deleted,
    keys,
    lists,
    cards.loose_payment_methods,
    parameters,
)
