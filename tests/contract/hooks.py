"""What Schemathesis cannot know by itself: which tokens are good, and what must come of each.

Loaded by Schemathesis, which names it in `SCHEMATHESIS_HOOKS`. It makes well-formed tokens that
that do not exist; a service that refused everything would pass with those. Where the served
document has a fresh token at each load, as a sandbox's has, some are replaced by fresh ones, and
others by tokens for which the stand-in plays a certain refusal.
"""

import functools
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
import schemathesis
from contract.answers import faults, operation_at
from contract.exchanges import Exchange, write
from schemathesis.generation.meta import TestPhase

HAS_CREDENTIALS = os.environ["COORD_CONTRACT_CREDENTIALS"] == "good"
EXCHANGES = Path(os.environ["COORD_CONTRACT_EXCHANGES"])
DOCUMENT = os.environ["COORD_CONTRACT_DOCUMENT"]


class Outcome(NamedTuple):
    """What a request must come to: a status, and for an error its code."""

    status: int
    code: str | None


DONE = Outcome(200, None)
UNKNOWN = Outcome(422, "resource_missing")
USED = Outcome(422, "token_already_used")
# https://docs.stripe.com/testing, and the stand-in's own.
PLAYED = {
    "tok_visa": DONE,
    "tok_amex": DONE,
    "tok_chargeDeclined": Outcome(402, "card_declined"),
    "tok_chargeDeclinedInsufficientFunds": Outcome(402, "card_declined"),
    "tok_chargeDeclinedExpiredCard": Outcome(402, "expired_card"),
    "tok_chargeDeclinedIncorrectCvc": Outcome(402, "incorrect_cvc"),
    "tok_chargeDeclinedProcessingError": Outcome(402, "processing_error"),
    "tok_standin_incorrectZip": Outcome(402, "incorrect_zip"),
    "tok_standin_liveMode": Outcome(422, "livemode_mismatch"),
    "tok_standin_odd": Outcome(422, "token_odd"),
}
if os.environ["COORD_CONTRACT_REFUSALS"] == "none":
    # After ten refused cards the user would have to wait for an hour.
    PLAYED = {token: outcome for token, outcome in PLAYED.items() if outcome.status != 402}
# By request.
expected: dict[str, Outcome] = {}
# Tokens of the user's saved cards, the last one last. Schemathesis sends what it found in answers.
saved: list[str] = []
# The one customer of the user.
customers: set[str] = set()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Choose the token of requests that follow the contract, and so their outcome."""
    if not (HAS_CREDENTIALS and _is_positive(case)):
        return
    if not _has_body(case):
        # Its credentials are all that such a request can have wrong.
        expected[case.id] = DONE
        return
    if not (_has_token_only(case) and is_sandbox()):
        return
    token = case.body["coord_targeted_token"]
    # By the generated token, so that the same seed makes the same choice.
    number = zlib.crc32(token.encode())
    is_random = case.meta.phase.name is TestPhase.FUZZING
    expected[case.id] = _outcome_of(token)
    if token == _example(case.operation.schema.raw_schema) or (is_random and number % 4 == 0):
        case.body = {"coord_targeted_token": fresh_token()}
        expected[case.id] = DONE
    elif is_random and number % 4 == 1:
        played = sorted(PLAYED)[number // 4 % len(PLAYED)]
        case.body = {"coord_targeted_token": played}
        expected[case.id] = PLAYED[played]


@schemathesis.hook
def after_call(_context: Any, case: Any, response: Any) -> None:
    """Record the exchange, to count what of the contract was not tried."""
    if response.status_code == 200 and _has_body(case):
        saved.append(response.json()["coord_targeted_token"])
    asked = response.request
    write(
        Exchange.of(
            asked.method,
            asked.url,
            asked.headers,
            asked.body,
            response.status_code,
            response.headers,
            response.content,
        ),
        EXCHANGES,
    )


@schemathesis.check
def outcome_of_a_request(_context: Any, response: Any, case: Any) -> None:
    """Each token has the outcome that it must have, and so has each request without a body."""
    if (outcome := expected.get(case.id)) is None:
        return
    answer = response.json()
    found = Outcome(response.status_code, answer.get("code"))
    assert found == outcome, f"Expected {outcome}, not {found}"


@schemathesis.check
def one_customer_for_the_user(_context: Any, response: Any, case: Any) -> None:
    """Each 200 is the whole object with the user's one customer; sent again, it is the same."""
    if response.status_code != 200:
        return
    assert HAS_CREDENTIALS, "A 200 without credentials"
    answer = response.json()
    if _has_body(case):
        customers.add(answer["customer_id"])
        identical = {**case.body, "customer_id": answer["customer_id"]}
        assert answer == identical, "The answer is not the identical object"
    elif "stripe_info" in answer:
        customers.add(answer["stripe_info"]["stripe_customer_id"])
    else:
        assert not customers, "The user's customer is left out"
    assert len(customers) <= 1, "The user has got another customer"
    with requests.Session() as session:
        session.trust_env = False
        again = session.send(response.request, timeout=30)
    assert (again.status_code, again.json()) == (200, response.json()), "Not the same 200 again"


@schemathesis.check
def all_of_an_answer_is_documented(_context: Any, response: Any, case: Any) -> None:
    """Its status, each of its headers, its type and its body; and a problem is true to itself."""
    asked = response.request
    headers = {name: ", ".join(values) for name, values in response.headers.items()}
    found = faults(
        contract(),
        asked.method,
        urlsplit(asked.url).path,
        response.status_code,
        headers,
        response.content,
    )
    assert not (result := list(found)), result
    if response.status_code >= 400 and asked.method != "HEAD":
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["request_id"] == headers["x-request-id"]


@schemathesis.check
def nothing_without_credentials(_context: Any, response: Any, case: Any) -> None:
    """Without credentials nothing is done, and the response does not say what else is wrong."""
    asked = response.request
    is_operation = operation_at(contract(), urlsplit(asked.url).path, asked.method)
    if HAS_CREDENTIALS or case.meta is None or not is_operation:
        return
    assert response.status_code in (401, 413, 415), f"Not refused: {response.status_code}"


@functools.cache
def is_sandbox() -> bool:
    """Return whether each load of the document has a fresh token."""
    return fresh_token() != fresh_token()


def fresh_token() -> str:
    """Take the token of the document's example."""
    return _example(_served())


@functools.cache
def contract() -> Any:
    """Return the Swagger document, against which answers are read in any case."""
    return _served()


def _served() -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(DOCUMENT, timeout=30).json()


def _example(document: Any) -> str:
    """Return the token in a document of either kind."""
    schemas = (
        document["definitions"] if "swagger" in document else document["components"]["schemas"]
    )
    return str(schemas["StripeInfo"]["properties"]["coord_targeted_token"]["example"])


def _outcome_of(token: str) -> Outcome:
    """Return the outcome of a token that Schemathesis chose."""
    if token in PLAYED:
        return PLAYED[token]
    if token not in saved:
        return UNKNOWN
    # The last request may be sent again.
    return DONE if token == saved[-1] else USED


def _is_positive(case: Any) -> bool:
    return case.meta is not None and not case.meta.generation.mode.is_negative


def _has_body(case: Any) -> bool:
    """Return whether the case's operation takes a body."""
    return bool(case.operation.body)


def _has_token_only(case: Any) -> bool:
    return isinstance(case.body, dict) and list(case.body) == ["coord_targeted_token"]
