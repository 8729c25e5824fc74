"""The auditor sees each fault that it counts: none of its zeros is for want of looking."""

import threading
from collections.abc import Callable, Iterator

import pytest
from faults import tally
from faults.fake_stripe import FakeStripe
from faults.instance import Instance
from support.reconciling import stray_of

from app.customers.pacer import Pacer
from app.storage.tables import users

OpenInstance = Callable[..., Instance]


@pytest.fixture(autouse=True)
def planted() -> Iterator[None]:
    """Keep what is found here out of the counts of the run."""
    yield
    tally.forget()


@pytest.fixture
def instance(open_instance: OpenInstance, fake_stripe: FakeStripe) -> Instance:
    """Return an instance with two users, the first of whom has replaced a PaymentMethod."""
    made = open_instance(cards="payment_method")
    made.save(fake_stripe.account.token(), "user-2")
    for _ in range(2):
        made.save(fake_stripe.account.token())
    assert made.audit().is_clean, made.audit()
    return made


def default_of(instance: Instance) -> str:
    """Return the default PaymentMethod of the first user's customer."""
    customer = instance.fake_stripe.account.customers[instance.acknowledged["user-1"].customer_id]
    assert customer.default_pm is not None
    return customer.default_pm


def make_duplicate(instance: Instance) -> None:
    stray_of(instance)


def lose_row(instance: Instance) -> None:
    with instance.database.writing() as connection:
        connection.execute(users.delete().where(users.c.subject == "user-1"))


def delete_customer(instance: Instance) -> None:
    instance.fake_stripe.account.delete(instance.acknowledged["user-1"].customer_id)


def swap_customers(instance: Instance) -> None:
    of_user_2 = instance.acknowledged["user-2"].customer_id
    instance.change("user-2", stripe_customer_id="cus_elsewhere")
    instance.change("user-1", stripe_customer_id=of_user_2)


def leave_open(instance: Instance) -> None:
    assert instance.attempts.claim(instance.user(), instance.fake_stripe.account.token())


def keep_token(instance: Instance) -> None:
    instance.change("user-1", attempt_email=instance.acknowledged["user-1"].token)


def keep_old_default(instance: Instance) -> None:
    account = instance.fake_stripe.account
    customer = account.customers[instance.acknowledged["user-1"].customer_id]
    _, old = account.payment_methods.attached(customer.id)
    customer.default_pm, customer.token = old.id, old.origin


def detach_default(instance: Instance) -> None:
    instance.fake_stripe.account.detach(default_of(instance))


def keep_id_of_detached_default(instance: Instance) -> None:
    instance.fake_stripe.account.payment_methods.detach(default_of(instance))


def attach_to_stranger(instance: Instance) -> None:
    stranger = instance.acknowledged["user-2"].customer_id
    instance.fake_stripe.account.payment_methods.by_id[default_of(instance)].customer = stranger


def attach_clone_to_stranger(instance: Instance) -> None:
    account = instance.fake_stripe.account
    clone = account.payment_methods.make(None, None, {})
    account.sent_by("user-1", clone.id)
    clone.customer = instance.acknowledged["user-2"].customer_id


def save_source_of_stranger(instance: Instance) -> None:
    account = instance.fake_stripe.account
    token = account.token()
    account.customers[instance.acknowledged["user-2"].customer_id].source = token
    account.sent_by("user-1", token)


def leave_loose(instance: Instance) -> None:
    instance.fake_stripe.account.payment_methods.make(
        instance.fake_stripe.account.token(), None, {}
    )


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (make_duplicate, {"duplicates", "orphans"}),
        (lose_row, {"orphans", "lost"}),
        (delete_customer, {"dangling"}),
        (swap_customers, {"shared", "orphans", "dangling", "lost", "cards"}),
        (leave_open, {"open"}),
        (keep_token, {"tokens"}),
        (keep_old_default, {"cards"}),
        (detach_default, {"cards"}),
        (keep_id_of_detached_default, {"cards"}),
        (attach_to_stranger, {"strangers", "cards"}),
        (attach_clone_to_stranger, {"strangers"}),
        (save_source_of_stranger, {"strangers"}),
        (leave_loose, {"loose"}),
    ],
)
def test_each_fault_is_found(
    instance: Instance, fault: Callable[[Instance], None], kinds: set[str]
) -> None:
    fault(instance)
    found = instance.audit()
    assert {kind for kind, number in found.counts.items() if number} == kinds, found


def test_service_that_detaches_the_new_card_is_found_out(instance: Instance) -> None:
    """A fault in the service itself: the default is detached in the place of the replaced card."""
    detach = instance.stripe.detach

    def detach_wrongly(_replaced: str, *, timeout: float) -> None:
        detach(default_of(instance), timeout=timeout)

    instance.stripe.detach = detach_wrongly  # type: ignore[method-assign]
    instance.replaced_cards.detach(Pacer(threading.Event(), 1e6))
    assert instance.audit().counts["cards"]
