"""What this service believes of Stripe, as questions that Stripe can answer.

Each function asks one, and returns what matters of the answers: the same each time, without ids.
Those that begin the sentence with "Open" are asked because no source has the answer.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from live.api import Api

Finding = dict[str, Any]
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


def token_to_payment_method(api: Api) -> Finding:
    """Open: is a token spent by becoming a PaymentMethod, and what does its second use say?"""
    card = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2034", "cvc": "123"}
    token = api.post("tokens", card=card)
    if token.status != 200:
        return {"not asked": token.brief()}
    params = {"type": "card", "card": {"token": token["id"]}, "metadata": {"coord_attempt": "a"}}
    first = api.post("payment_methods", **params)
    return {
        "first": first.brief(),
        "metadata": first["metadata"],
        "used": api.get(f"tokens/{token['id']}")["used"],
        "second": api.post("payment_methods", **params).brief(),
        "as source": api.post("customers", source=token["id"]).brief(),
    }


def unknown_payment_method(api: Api) -> Finding:
    """404 in the path and 400 in the body, with `param` payment_method."""
    customer = api.customer()
    return {
        "get": api.get("payment_methods/pm_coord_users_check").brief(),
        "attach": api.post(
            "payment_methods/pm_coord_users_check/attach", customer=customer
        ).brief(),
        "create": api.post("customers", payment_method="pm_coord_users_check").brief(),
        "from token": api.post(
            "payment_methods", type="card", card={"token": "tok_coord_users_check"}
        ).brief(),
    }


def pair(api: Api) -> Finding:
    """Open: a customer is created with a real PaymentMethod, and it as default, in one call."""
    name = api.payment_method()
    made = _with_default(api, name)
    found = api.get(f"payment_methods/{name}")
    return made.brief() | {
        "is default": made.default() == name,
        "is attached": found["customer"] == made["id"],
        "cvc_check": found["card"]["checks"]["cvc_check"],
    }


def declined_payment_method(api: Api) -> Finding:
    """Open: may a PaymentMethod be attached after a 402?"""
    name = api.payment_method("tok_chargeDeclined")
    customer = api.customer()
    return {
        "create": _with_default(api, name).brief(),
        "attach": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "again": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "is attached": api.get(f"payment_methods/{name}")["customer"] is not None,
    }


def replace(api: Api) -> Finding:
    """Attach, then make it the default; the other way round is refused. The old one stays."""
    customer = _with_default(api, api.payment_method())["id"]
    second = api.payment_method()
    settings = {"default_payment_method": second}
    too_early = api.post(f"customers/{customer}", invoice_settings=settings)
    attached = api.post(f"payment_methods/{second}/attach", customer=customer)
    changed = api.post(f"customers/{customer}", invoice_settings=settings)
    listed = api.get(f"customers/{customer}/payment_methods")
    return {
        "default before attach": too_early.brief(),
        "attach": attached.brief(),
        "same id": attached["id"] == second,
        "default": changed.brief() | {"is default": changed.default() == second},
        "attached": len(listed["data"]),
        "payment_method on update": api.post(
            f"customers/{customer}", payment_method=second
        ).brief(),
    }


def attach_twice(api: Api) -> Finding:
    """Open: what does attaching to the same customer again say, or to another one?"""
    name = api.payment_method()
    customer = _with_default(api, name)["id"]
    return {
        "same": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "other": api.post(f"payment_methods/{name}/attach", customer=api.customer()).brief(),
        "create": api.post("customers", payment_method=name).brief(),
    }


def detached(api: Api) -> Finding:
    """Open: what does a spent PaymentMethod say, and can it be told from a fresh one?"""
    name = api.payment_method()
    customer = _with_default(api, name)["id"]
    gone = api.post(f"payment_methods/{name}/detach")
    return {
        "detach": gone.brief(),
        "customer after": api.get(f"payment_methods/{name}")["customer"],
        "default after": api.get(f"customers/{customer}").default(),
        "attach": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "create": _with_default(api, name).brief(),
        "detach again": api.post(f"payment_methods/{name}/detach").brief(),
    }


def source_beside_a_default(api: Api) -> Finding:
    """Open: does a source change anything where a PaymentMethod is the default?"""
    name = api.payment_method()
    customer = _with_default(api, name)["id"]
    changed = api.post(f"customers/{customer}", source="tok_mastercard")
    return changed.brief() | {
        "default_payment_method stays": changed.default() == name,
        "has default_source": changed["default_source"] is not None,
    }


def empty_default(api: Api) -> Finding:
    """Open: does an empty text unset the default PaymentMethod?"""
    customer = _with_default(api, api.payment_method())["id"]
    changed = api.post(f"customers/{customer}", invoice_settings={"default_payment_method": ""})
    found = api.get(f"customers/{customer}").default()
    return changed.brief() | {"has default": found is not None}


def test_ids(api: Api) -> Finding:
    """A test id is copied when attached, and refused when a customer is created."""
    customer = api.customer()
    attached = api.post("payment_methods/pm_card_visa/attach", customer=customer)
    return {
        "attach": attached.brief() | {"same id": attached["id"] == "pm_card_visa"},
        "create": _with_default(api, "pm_card_visa").brief(),
        "get": api.get("payment_methods/pm_card_visa").brief(),
        "declined": api.post(
            "payment_methods/pm_card_chargeDeclined/attach", customer=customer
        ).brief(),
    }


def mixed_up(api: Api) -> Finding:
    """A token where a PaymentMethod belongs, and the other way round."""
    customer = api.customer()
    return {
        "token as payment method": api.post(
            "payment_methods/tok_visa/attach", customer=customer
        ).brief(),
        "payment method as source": api.post("customers", source=api.payment_method()).brief(),
    }


def deleted(api: Api) -> Finding:
    """Open: what do calls say that name a deleted customer? GET is certain."""
    customer = _with_default(api, api.payment_method())["id"]
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


def loose_payment_methods(api: Api) -> Finding:
    """Open: does the list without a customer show those that are attached to nobody?"""
    name = api.payment_method()
    page = api.get("payment_methods", type="card", limit=100)
    listed = [one["id"] for one in page.body.get("data", [])]
    return page.brief() | {"is there": name in listed}


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


def clone(api: Api, platform: Api, account: str) -> Finding:
    """Open: is a partner's clone saved with the account's own key, as a token is?"""
    theirs = platform.payment_method()
    customer = _with_default(platform, theirs)["id"]
    made = platform.post(
        "payment_methods", account=account, customer=customer, payment_method=theirs
    )
    token = platform.post("tokens", account=account, customer=customer)
    second = platform.post(
        "payment_methods", account=account, customer=customer, payment_method=theirs
    )
    ours = api.customer()
    return {
        "clone": made.brief()
        | {"customer": made.body.get("customer"), "new": made["id"] != theirs},
        "create": _with_default(api, made["id"]).brief(),
        "attach": api.post(f"payment_methods/{second['id']}/attach", customer=ours).brief(),
        "token of a payment method": token.brief(),
    }


def _with_default(api: Api, payment_method: str) -> Any:
    settings = {"default_payment_method": payment_method}
    return api.post("customers", payment_method=payment_method, invoice_settings=settings)


QUESTIONS: tuple[Callable[[Api], Finding], ...] = (
    create,
    update,
    declined,
    unknown_token,
    used_token,
    token_to_payment_method,
    unknown_payment_method,
    pair,
    declined_payment_method,
    replace,
    attach_twice,
    detached,
    source_beside_a_default,
    empty_default,
    test_ids,
    mixed_up,
    deleted,
    keys,
    lists,
    loose_payment_methods,
    parameters,
)
