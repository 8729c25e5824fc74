"""The stand-in for Stripe, as the real SDK meets it over a socket."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from app.errors import ConfigurationError
from app.sandbox.standin.account import Account, StripeProblem
from app.sandbox.standin.cards import DECLINED_NUMBERS, REFUSED_TOKENS, TEST_TOKENS
from app.sandbox.standin.server import StandIn

COORD = "acct_standin_coord"
GOOD = "4242424242424242"


def sdk(standin: StandIn, key: str = "sk_test_x") -> StripeClient:
    """Give the SDK, pointed at the stand-in."""
    return StripeClient(key, base_addresses={"api": standin.url})


@pytest.fixture
def client(standin: StandIn) -> StripeClient:
    return sdk(standin)


@pytest.fixture
def raw(standin: StandIn) -> Iterator[httpx.Client]:
    """Give a caller for what the SDK cannot send."""
    headers = {"Authorization": "Bearer sk_test_x"}
    with httpx.Client(base_url=standin.url, headers=headers, trust_env=False) as http:
        yield http


def error_of(answer: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = answer.json()["error"]
    return error


def new_token(client: StripeClient, number: str = GOOD) -> str:
    card = {"number": number, "exp_month": "12", "exp_year": "2034", "cvc": "123"}
    return client.v1.tokens.create({"card": card}).id  # type: ignore[typeddict-item]


# Tokens.


def test_card_becomes_a_token_that_works_once(client: StripeClient) -> None:
    token = new_token(client)
    assert token.startswith("tok_standin_")
    first = client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
    assert first.id.startswith("cus_standin_")
    assert first.default_source
    with pytest.raises(stripe.InvalidRequestError) as told:
        client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
    assert (told.value.http_status, told.value.code) == (400, "token_already_used")
    assert told.value.param == "source"


def test_partners_customer_becomes_a_token_for_coord(client: StripeClient) -> None:
    """As in the contract's own words: `-d customer=cus_abc -H "Stripe-Account: acct_..."`."""
    theirs = client.v1.customers.create({"source": "tok_visa"})  # type: ignore[typeddict-unknown-key]
    token = client.v1.tokens.create({"customer": theirs.id}, {"stripe_account": COORD}).id
    ours = client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
    assert ours.id != theirs.id


def test_token_for_another_account_does_not_exist_for_coord(client: StripeClient) -> None:
    theirs = client.v1.customers.create({"source": "tok_visa"})  # type: ignore[typeddict-unknown-key]
    options = {"stripe_account": "acct_other"}
    token = client.v1.tokens.create({"customer": theirs.id}, options).id  # type: ignore[arg-type]
    with pytest.raises(stripe.InvalidRequestError) as told:
        client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
    assert told.value.code == "resource_missing"


def test_customer_without_a_connected_account_gives_no_token(client: StripeClient) -> None:
    theirs = client.v1.customers.create({"source": "tok_visa"})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(stripe.InvalidRequestError, match="Stripe-Account"):
        client.v1.tokens.create({"customer": theirs.id})
    with pytest.raises(stripe.InvalidRequestError) as told:
        client.v1.tokens.create({"customer": "cus_none"}, {"stripe_account": COORD})
    assert told.value.code == "resource_missing"


@pytest.mark.parametrize("number", ["4242424242424241", "42", "4242 4242 4242 424x"])
def test_number_of_no_card_is_refused(client: StripeClient, number: str) -> None:
    with pytest.raises(stripe.CardError) as told:
        new_token(client, number)
    assert told.value.code == "incorrect_number"


def test_token_of_nothing_is_refused(client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as told:
        client.v1.tokens.create({})
    assert told.value.code == "parameter_missing"


@pytest.mark.parametrize(("token", "decline"), TEST_TOKENS.items())
def test_stripes_test_tokens(client: StripeClient, token: str, decline: object) -> None:
    """Those of good cards work any number of times, the others are refused each time."""
    for _ in range(2):
        if decline is None:
            client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
            continue
        with pytest.raises(stripe.CardError) as told:
            client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
        assert told.value.http_status == 402
        assert told.value.code == decline.code  # type: ignore[attr-defined]
        error = told.value.error
        assert error is not None
        assert getattr(error, "decline_code", None) == decline.decline_code  # type: ignore[attr-defined]


@pytest.mark.parametrize(("number", "decline"), DECLINED_NUMBERS.items())
def test_test_cards_are_refused_when_saved(
    client: StripeClient, number: str, decline: object
) -> None:
    """A token can be made of them; a refusal leaves it unused, and makes no customer."""
    token = new_token(client, number)
    for _ in range(2):
        with pytest.raises(stripe.CardError) as told:
            client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
        assert told.value.code == decline.code  # type: ignore[attr-defined]
    assert not client.v1.customers.list().data


@pytest.mark.parametrize(("token", "code"), REFUSED_TOKENS.items())
def test_tokens_that_are_refused(client: StripeClient, token: str, code: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as told:
        client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]
    assert (told.value.http_status, told.value.code, told.value.param) == (400, code, "source")


@pytest.mark.parametrize(
    ("token", "error", "times"),
    [
        ("tok_standin_unavailable", stripe.APIError, 3),
        ("tok_standin_forbidden", stripe.PermissionError, 1),
    ],
)
def test_bad_days_end(client: StripeClient, token: str, error: type[Exception], times: int) -> None:
    """Whoever asks again with the same key sees its card saved in the end."""
    params: Any = {"source": token}
    for _ in range(times):
        with pytest.raises(error):
            client.v1.customers.create(params, {"idempotency_key": "k1"})
    assert client.v1.customers.create(params, {"idempotency_key": "k1"}).default_source


def test_slow_day_saves_the_card_in_the_end() -> None:
    slept: list[float] = []
    customer = Account().create_customer({"source": "tok_standin_slow"}, sleep=slept.append)
    assert slept == [30.0]
    assert customer["default_source"]


def test_token_in_use_is_told() -> None:
    """While one request is at a token, another that wants it is told so, and changes nothing."""
    account = Account()
    token = account.create_token({"card[number]": GOOD}, None)["id"]
    account._in_use.add(token)
    with pytest.raises(StripeProblem) as told:
        account.create_customer({"source": token}, time.sleep)
    assert told.value.code == "token_in_use"


# Customers.


def test_customer_is_created_updated_retrieved_and_deleted(client: StripeClient) -> None:
    customers = client.v1.customers
    made = customers.create({"email": "a@example.com", "metadata": {"one": "1"}})
    assert made.default_source is None
    changed = customers.update(
        made.id,
        {"description": "d", "metadata": {"two": "2"}, "source": "tok_visa"},  # type: ignore[typeddict-unknown-key]
    )
    assert (changed.id, changed.email, changed.description) == (made.id, "a@example.com", "d")
    found = customers.retrieve(made.id)
    assert found.metadata is not None
    assert found.metadata.to_dict() == {"one": "1", "two": "2"}
    assert found.default_source == changed.default_source
    assert not found.livemode
    assert customers.delete(made.id).deleted
    assert getattr(customers.retrieve(made.id), "deleted", False)
    for gone in (lambda: customers.update(made.id, {}), lambda: customers.delete(made.id)):
        with pytest.raises(stripe.InvalidRequestError) as told:
            gone()
        assert (told.value.http_status, told.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError):
        customers.retrieve("cus_none")


def test_refused_update_changes_nothing(client: StripeClient) -> None:
    customers = client.v1.customers
    made = customers.create({"source": "tok_visa"})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(stripe.CardError):
        customers.update(
            made.id,
            {"source": "tok_chargeDeclined", "metadata": {"a": "b"}},  # type: ignore[typeddict-unknown-key]
        )
    assert customers.retrieve(made.id).to_dict() == made.to_dict()


def test_email_that_is_none_is_refused(client: StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as told:
        client.v1.customers.create({"email": "nobody"})
    assert (told.value.code, told.value.param) == ("email_invalid", "email")


def test_customers_are_listed_in_pages_the_newest_first(client: StripeClient) -> None:
    customers = client.v1.customers
    made = [customers.create({}) for _ in range(5)]
    customers.delete(made[2].id)
    first = customers.list({"limit": 3})
    assert [one.id for one in first.data] == [made[4].id, made[3].id, made[1].id]
    assert first.has_more
    second = customers.list({"limit": 3, "starting_after": made[1].id})
    assert [one.id for one in second.data] == [made[0].id]
    assert not second.has_more
    assert len(list(customers.list({"limit": 1}).auto_paging_iter())) == 4
    with pytest.raises(stripe.InvalidRequestError) as told:
        customers.list({"starting_after": made[2].id})
    assert told.value.param == "starting_after"


def test_customers_are_listed_by_creation(client: StripeClient) -> None:
    customers = client.v1.customers
    made = customers.create({})
    at = made.created
    assert customers.list({"created": {"gte": at, "lte": at}}).data
    assert customers.list({"created": at}).data
    assert not customers.list({"created": {"gte": at + 1}}).data
    assert not customers.list({"created": {"lte": at - 1}}).data


# Idempotency keys (https://docs.stripe.com/api/idempotent_requests).


def test_key_replays_what_was_answered_first(client: StripeClient) -> None:
    customers = client.v1.customers
    token = new_token(client)
    params = {"source": token}
    first = customers.create(params, {"idempotency_key": "k1"})  # type: ignore[arg-type]
    again = customers.create(params, {"idempotency_key": "k1"})  # type: ignore[arg-type]
    assert again.to_dict() == first.to_dict()
    assert first.last_response.headers.get("Idempotent-Replayed") is None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(customers.list().data) == 1


def test_key_replays_a_refusal(client: StripeClient) -> None:
    for replayed in (None, "true"):
        with pytest.raises(stripe.CardError) as told:
            client.v1.customers.create({"source": "tok_chargeDeclined"}, {"idempotency_key": "k"})  # type: ignore[typeddict-unknown-key]
        assert told.value.headers is not None
        assert told.value.headers.get("Idempotent-Replayed") == replayed


def test_key_with_other_parameters_is_a_mismatch(client: StripeClient) -> None:
    client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"email": "b@example.com"}, {"idempotency_key": "k"})


def test_key_does_not_keep_what_was_never_begun(client: StripeClient, raw: httpx.Client) -> None:
    """An unknown parameter, or a bad day."""
    key = {"Idempotency-Key": "k"}
    answer = raw.post("/v1/customers", data={"odd": "1"}, headers=key)
    assert error_of(answer)["code"] == "parameter_unknown"
    client.v1.customers.create({}, {"idempotency_key": "k"})


def test_key_in_use_is_told() -> None:
    with StandIn(delay=0.0) as standin:
        client = sdk(standin)
        account: Account = standin._app.app.extensions["account"]
        assert account.begin("k", "a request that is under way") is None
        with pytest.raises(stripe.APIError) as told:
            client.v1.customers.create({}, {"idempotency_key": "k"})
        assert told.value.http_status == 409
        assert told.value.error is not None
        assert told.value.error.code == "idempotency_key_in_use"


def test_key_is_forgotten_after_a_day() -> None:
    now = [1000.0]
    account = Account(clock=lambda: now[0])
    account.end("k", "r", 200, {})
    now[0] += 24 * 3600 - 1
    assert account.begin("k", "r") == (200, {})
    now[0] += 1
    assert account.begin("k", "r") is None


def test_requests_at_the_same_time_are_one(client: StripeClient) -> None:
    """With one key: one customer, whatever the others are told."""

    def create(_: int) -> str:
        try:
            return client.v1.customers.create({}, {"idempotency_key": "k"}).id
        except stripe.APIError:
            return "in use"

    with ThreadPoolExecutor(8) as threads:
        told = set(threads.map(create, range(16)))
    assert len(told - {"in use"}) == 1
    assert len(client.v1.customers.list().data) == 1


# What it is not.


def test_state_survives_a_restart(tmp_path: Path) -> None:
    """Where asked: customers, unused tokens, used ones and keys."""
    state = tmp_path / "state.json"
    with StandIn(state_file=state) as standin:
        client = sdk(standin)
        unused, used = new_token(client), new_token(client)
        params = {"source": used}
        made = client.v1.customers.create(params, {"idempotency_key": "k"})  # type: ignore[arg-type]
    with StandIn(state_file=state) as standin:
        client = sdk(standin)
        again = client.v1.customers.create(params, {"idempotency_key": "k"})  # type: ignore[arg-type]
        assert again.to_dict() == made.to_dict()
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.customers.create(params)  # type: ignore[arg-type]
        client.v1.customers.create({"source": unused})  # type: ignore[typeddict-unknown-key]


def test_port_that_is_taken_is_told(standin: StandIn) -> None:
    port = int(standin.url.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match="did not start"), StandIn(port):
        pass


def test_token_for_the_sandbox_works(client: StripeClient, standin: StandIn) -> None:
    token = standin.new_token()
    client.v1.customers.create({"source": token})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(ConfigurationError, match="this machine only"):
        StandIn(host=host)


@pytest.mark.parametrize("key", ["sk_live_4eC39HqLyjWDarjtT1zdp7dc", "nonsense"])
def test_takes_test_keys_only(standin: StandIn, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as told:
        sdk(standin, key).v1.customers.list()
    assert key not in str(told.value)


def test_takes_the_key_as_curl_sends_it(standin: StandIn) -> None:
    answer = httpx.get(f"{standin.url}/v1/customers", auth=("sk_test_x", ""), trust_env=False)
    assert answer.json() == {
        "object": "list",
        "url": "/v1/customers",
        "has_more": False,
        "data": [],
    }


def test_says_what_it_is(
    raw: httpx.Client, standin: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """In each answer's headers, in each id, and in the log."""
    answer = raw.post("/v1/customers")
    assert answer.headers["server"] == "Stripe-Stand-In"
    assert answer.headers["request-id"].startswith("req_standin_")
    assert answer.json()["id"].startswith("cus_standin_")
    with StandIn():
        pass
    assert "stand-in for Stripe listens" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/charges", 404),
        ("PUT", "/v1/customers", 405),
        ("GET", "/v1/customers?limit=101", 400),
        ("GET", "/v1/customers?limit=many", 400),
    ],
)
def test_what_it_does_not_know_is_told_in_stripes_form(
    raw: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = raw.request(method, path)
    assert answer.status_code == status
    assert error_of(answer)["type"] == "invalid_request_error"
    assert answer.headers["request-id"].startswith("req_standin_")
