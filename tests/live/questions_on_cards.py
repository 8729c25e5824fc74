"""What this service believes of PaymentMethods, as questions that Stripe can answer.

As in `live.questions`, each function asks one.
"""

from typing import Any

from live.api import Api

Finding = dict[str, Any]


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
    made = with_default(api, name)
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
        "create": with_default(api, name).brief(),
        "attach": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "again": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "is attached": api.get(f"payment_methods/{name}")["customer"] is not None,
    }


def replace(api: Api) -> Finding:
    """Attach, then make it the default; the other way round is refused. The old one stays."""
    customer = with_default(api, api.payment_method())["id"]
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
    customer = with_default(api, name)["id"]
    return {
        "same": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "other": api.post(f"payment_methods/{name}/attach", customer=api.customer()).brief(),
        "create": api.post("customers", payment_method=name).brief(),
    }


def detached(api: Api) -> Finding:
    """Open: what does a spent PaymentMethod say, and can it be told from a fresh one?"""
    name = api.payment_method()
    customer = with_default(api, name)["id"]
    gone = api.post(f"payment_methods/{name}/detach")
    return {
        "detach": gone.brief(),
        "customer after": api.get(f"payment_methods/{name}")["customer"],
        "default after": api.get(f"customers/{customer}").default(),
        "attach": api.post(f"payment_methods/{name}/attach", customer=customer).brief(),
        "create": with_default(api, name).brief(),
        "detach again": api.post(f"payment_methods/{name}/detach").brief(),
    }


def source_beside_a_default(api: Api) -> Finding:
    """Open: does a source change anything where a PaymentMethod is the default?"""
    name = api.payment_method()
    customer = with_default(api, name)["id"]
    changed = api.post(f"customers/{customer}", source="tok_mastercard")
    return changed.brief() | {
        "default_payment_method stays": changed.default() == name,
        "has default_source": changed["default_source"] is not None,
    }


def empty_default(api: Api) -> Finding:
    """Open: does an empty text unset the default PaymentMethod?"""
    customer = with_default(api, api.payment_method())["id"]
    changed = api.post(f"customers/{customer}", invoice_settings={"default_payment_method": ""})
    found = api.get(f"customers/{customer}").default()
    return changed.brief() | {"has default": found is not None}


def test_ids(api: Api) -> Finding:
    """A test id is copied when attached, and refused when a customer is created."""
    customer = api.customer()
    attached = api.post("payment_methods/pm_card_visa/attach", customer=customer)
    return {
        "attach": attached.brief() | {"same id": attached["id"] == "pm_card_visa"},
        "create": with_default(api, "pm_card_visa").brief(),
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


def loose_payment_methods(api: Api) -> Finding:
    """Open: does the list without a customer show PaymentMethods that are not attached?"""
    name = api.payment_method()
    page = api.get("payment_methods", type="card", limit=100)
    listed = [one["id"] for one in page.body.get("data", [])]
    return page.brief() | {"is there": name in listed}


def clone(api: Api, platform: Api, account: str) -> Finding:
    """Open: is a partner's clone saved with the account's own key, as a token is?"""
    theirs = platform.payment_method()
    customer = with_default(platform, theirs)["id"]
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
        "create": with_default(api, made["id"]).brief(),
        "attach": api.post(f"payment_methods/{second['id']}/attach", customer=ours).brief(),
        "token of a payment method": token.brief(),
    }


def with_default(api: Api, payment_method: str) -> Any:
    settings = {"default_payment_method": payment_method}
    return api.post("customers", payment_method=payment_method, invoice_settings=settings)
