"""Each call of the account to Stripe, with an answer that fits it."""

from collections.abc import Callable

from app.stripe_account.account import StripeAccount
from app.stripe_account.objects import Customer, PaymentMethod, Token

KEY = "sk_test_secret4eC39HqLyjWDarjtT1zdp7dc"
METADATA = {"coord_attempt": "attempt-1", "coord_user": "7"}
CUSTOMER = {
    "id": "cus_1",
    "object": "customer",
    "created": 1700000000,
    "email": "a@example.com",
    "livemode": True,
    "default_source": "card_1",
    "invoice_settings": {"default_payment_method": "pm_1"},
    "metadata": METADATA,
}
DELETED = {"id": "cus_1", "object": "customer", "deleted": True}
ATTACHED = {"id": "pm_1", "object": "payment_method", "customer": "cus_1", "metadata": METADATA}
LOOSE = {**ATTACHED, "customer": None}
TOKEN = {"id": "tok_1", "object": "token", "used": True}


class Calls:
    """Each call of the account, with arguments that fit the answers above."""

    def __init__(self, account: StripeAccount) -> None:
        self.account = account

    def create(self, **card: str) -> Customer:
        return self.account.create_customer(
            **(card or {"source": "tok_1"}),
            email="a@example.com",
            metadata=METADATA,
            idempotency_key="key-1",
            timeout=5.0,
        )

    def create_with_pm(self) -> Customer:
        return self.create(payment_method="pm_1")

    def replace(self) -> Customer:
        return self.account.replace_source(
            "cus_1", "tok_1", METADATA, idempotency_key="key-1", timeout=5.0
        )

    def create_pm(self) -> PaymentMethod:
        return self.account.create_payment_method(
            "tok_1", METADATA, idempotency_key="key-1", timeout=5.0
        )

    def attach(self) -> PaymentMethod:
        return self.account.attach("pm_1", "cus_1", idempotency_key="key-1", timeout=5.0)

    def set_default(self) -> Customer:
        return self.account.set_default(
            "cus_1", "pm_1", METADATA, idempotency_key="key-1", timeout=5.0
        )

    def set_metadata(self) -> Customer:
        return self.account.set_metadata("cus_1", {"coord_user": "7", "gone": ""}, timeout=5.0)

    def detach(self) -> PaymentMethod:
        return self.account.detach("pm_1", timeout=5.0)

    def retrieve(self) -> Customer:
        return self.account.retrieve("cus_1", timeout=5.0)

    def retrieve_pm(self) -> PaymentMethod | None:
        return self.account.retrieve_payment_method("pm_1", timeout=5.0)

    def retrieve_token(self) -> Token | None:
        return self.account.retrieve_token("tok_1", timeout=5.0)

    def created(self) -> list[Customer]:
        return list(self.account.created_between(10.5, 20.5, timeout=5.0))

    def list_pms(self) -> list[PaymentMethod]:
        return list(self.account.list_payment_methods("cus_1", timeout=5.0))

    def delete(self) -> None:
        self.account.delete("cus_1", timeout=5.0)


def page(*items: object, more: bool = False) -> dict[str, object]:
    return {"object": "list", "url": "/v1/x", "has_more": more, "data": list(items)}


# What is sent: the call, its answer, the request's line, its parameters.
SENT: list[tuple[Callable[[Calls], object], object, str, dict[str, str]]] = [
    (
        Calls.create,
        CUSTOMER,
        "POST /v1/customers",
        {"source": "tok_1", "email": "a@example.com", "metadata": ""},
    ),
    (
        Calls.create_with_pm,
        CUSTOMER,
        "POST /v1/customers",
        {
            "payment_method": "pm_1",
            "invoice_settings[default_payment_method]": "pm_1",
            "email": "a@example.com",
            "metadata": "",
        },
    ),
    (Calls.replace, CUSTOMER, "POST /v1/customers/cus_1", {"source": "tok_1", "metadata": ""}),
    (
        Calls.create_pm,
        LOOSE,
        "POST /v1/payment_methods",
        {"type": "card", "card[token]": "tok_1", "metadata": ""},
    ),
    (Calls.attach, ATTACHED, "POST /v1/payment_methods/pm_1/attach", {"customer": "cus_1"}),
    (
        Calls.set_default,
        CUSTOMER,
        "POST /v1/customers/cus_1",
        {"invoice_settings[default_payment_method]": "pm_1", "metadata": ""},
    ),
    (
        Calls.set_metadata,
        CUSTOMER,
        "POST /v1/customers/cus_1",
        {"metadata[coord_user]": "7", "metadata[gone]": ""},
    ),
    (Calls.detach, LOOSE, "POST /v1/payment_methods/pm_1/detach", {}),
    (Calls.retrieve, CUSTOMER, "GET /v1/customers/cus_1", {}),
    (Calls.retrieve_pm, ATTACHED, "GET /v1/payment_methods/pm_1", {}),
    (Calls.retrieve_token, TOKEN, "GET /v1/tokens/tok_1", {}),
    (
        Calls.created,
        page(CUSTOMER),
        "GET /v1/customers",
        {"created[gte]": "10", "created[lte]": "21", "limit": "100"},
    ),
    (Calls.list_pms, page(ATTACHED), "GET /v1/customers/cus_1/payment_methods", {"limit": "100"}),
    (Calls.delete, DELETED, "DELETE /v1/customers/cus_1", {}),
]
NAMES = [line + (" " + next(iter(params), "")) for _, _, line, params in SENT]
