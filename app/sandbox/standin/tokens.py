"""Card tokens of the stand-in (https://docs.stripe.com/api/tokens)."""

import time
from collections import Counter
from collections.abc import Callable

from app.sandbox.standin import cards
from app.sandbox.standin.problems import Object, StripeProblem, missing, no_such
from app.sandbox.standin.state import COORD, Params, State, new_id

SLOW_SECONDS = 30.0


class Tokens:
    """Makes tokens, and uses each once."""

    def __init__(self, state: State, sleep: Callable[[float], None] = time.sleep) -> None:
        self._state = state
        self._sleep = sleep
        self._in_use: set[str] = set()
        self._troubles: Counter[tuple[str, str]] = Counter()

    def create(self, params: Params, account: str | None) -> Object:
        """Make a token from a card, or from a customer for a connected account."""
        if "customer" in params:
            if account is None:
                raise StripeProblem(
                    400,
                    "A token is made from a customer for a connected account: send the header"
                    " `Stripe-Account`.",
                    param="customer",
                )
            number = self._state.customer(params["customer"], "customer", 400).get("_card")
            if number is None:
                # Stripe does not make tokens from PaymentMethods.
                raise StripeProblem(400, "The customer has no card that can become a token.")
            return self._new(number, account)
        number = params.get("card[number]", "").replace(" ", "")
        if not number:
            raise missing("card")
        return self._new(require_number(number), account or COORD)

    def retrieve(self, token: str) -> Object:
        """Return a token as it is now."""
        if token in cards.TEST_TOKENS:
            return _public(token, cards.TEST_TOKENS[token], False, self._state.now())
        found = self._known(token, "token", 404)
        return _public(token, found["card"], found["used"], found.get("created", 0))

    def use(self, token: str, key: str, param: str, save: Callable[[str], Object]) -> Object:
        """Use a token up.

        Args:
            key: the idempotency key; bad days end after some calls under one key.
            save: saves the card with the number that it is called with; the token counts as used
                only if that succeeds.

        Raises:
            StripeProblem: the token or its card is refused.
        """
        self._play(token, key, param)
        if token in cards.TEST_TOKENS:
            return save(cards.TEST_TOKENS[token])
        if token in cards.TROUBLES or token == cards.SLOW_TOKEN:
            return save(cards.GOOD_NUMBER)
        with self._state.lock:
            found = self._known(token, param, 400)
            if found["used"]:
                raise StripeProblem(
                    400,
                    f"You cannot use a Stripe token more than once: {token}.",
                    code="token_already_used",
                )
            if token in self._in_use:
                raise StripeProblem(
                    400,
                    f"The token {token} is being used in another request.",
                    code="token_in_use",
                )
            self._in_use.add(token)
        try:
            saved = save(str(found["card"]))
            found["used"] = True
            self._state.keep()
        finally:
            self._in_use.discard(token)
        return saved

    def _known(self, token: str, param: str, status: int) -> Object:
        found = self._state.tokens.get(token)
        if found is None or found["account"] != COORD:
            raise no_such("token", token, param, status)
        return found

    def _play(self, token: str, key: str, param: str) -> None:
        """Play what a token of the stand-in's own stands for."""
        if token in cards.REFUSED_TOKENS:
            code = cards.REFUSED_TOKENS[token]
            raise StripeProblem(400, "The stand-in refuses this token.", code=code, param=param)
        if token == cards.SLOW_TOKEN:
            self._sleep(SLOW_SECONDS)
        trouble = cards.TROUBLES.get(token)
        if trouble is not None and self._troubles[token, key] < trouble.calls:
            self._troubles[token, key] += 1
            retry = trouble.should_retry
            raise StripeProblem(
                trouble.status,
                "The stand-in plays a bad day.",
                headers={"Stripe-Should-Retry": retry} if retry else {},
                type=trouble.type,
                code=trouble.code,
            )

    def _new(self, number: str, account: str) -> Object:
        token, now = new_id("tok"), self._state.now()
        with self._state.lock:
            self._state.tokens[token] = {
                "card": number,
                "account": account,
                "used": False,
                "created": now,
            }
            self._state.keep()
        return _public(token, number, False, now)


def require_number(number: str) -> str:
    """Return a card number if a card can have it.

    Raises:
        StripeProblem: no card has that number.
    """
    if not cards.is_card_number(number):
        raise StripeProblem(
            402,
            "Your card number is incorrect.",
            headers={"Stripe-Should-Retry": "false"},
            type="card_error",
            code="incorrect_number",
            param="number",
        )
    return number


def card_object(number: str, card_id: str) -> Object:
    """Return a card as tokens and sources have it (https://docs.stripe.com/api/cards/object)."""
    return {
        "id": card_id,
        "object": "card",
        "address_city": None,
        "address_country": None,
        "address_line1": None,
        "address_line1_check": None,
        "address_line2": None,
        "address_state": None,
        "address_zip": None,
        "address_zip_check": None,
        "cvc_check": "unchecked",
        "dynamic_last4": None,
        "metadata": {},
        "name": None,
        "networks": {"preferred": None},
        "tokenization_method": None,
        "wallet": None,
        **cards.details(number),
    }


def _public(token: str, number: str, used: bool, created: int) -> Object:
    return {
        "id": token,
        "object": "token",
        "card": card_object(number, f"card_standin_{token[-16:]}"),
        "client_ip": None,
        "created": created,
        "livemode": False,
        "type": "card",
        "used": used,
    }
