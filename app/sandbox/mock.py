"""The mock: the contract's examples as answers, with no database and no Stripe.

Requests are held against the contract as the service does it; credentials must be there and well
formed, and that is all. Which answer is given, the header `Prefer` says (RFC 7240), as for other
mocks: `Prefer: code=402, example=expired_card`.
"""

import json
import re
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, NamedTuple

import flask
import jwt
from connexion import Resolver
from werkzeug.http import parse_dict_header

from app.config import Settings
from app.contract.connexion_app import serve_contract
from app.contract.document import Contract, Document, operations
from app.contract.explorer import Prefilled
from app.customers.user import User
from app.errors import CardRefused, InvalidAccessKey, InvalidRequest, TokenRefused
from app.identity.credentials import KEY_LENGTH, KEY_PREFIX, is_well_formed
from app.identity.jwts import read
from app.sandbox.standin.cards import REFUSED_TOKENS, TEST_TOKENS
from app.telemetry import trace
from app.telemetry.metrics import Metrics
from app.web import server
from app.web.cors import Loopback
from app.web.edge import Edge
from app.web.problems import Problems

ACCESS_KEY = KEY_PREFIX + "mock".ljust(KEY_LENGTH - len(KEY_PREFIX), "_")
# Nobody checks who signed it, nor when.
USER_JWT = jwt.encode(
    {"iss": "https://mock.example/", "sub": "mock-user"}, "no secret, but of the length of one"
)
GOOD_TOKEN = "tok_visa"  # noqa: S105 - Stripe's, for everybody
# The form of Stripe's codes, by the contract.
CODE = re.compile(r"[a-z0-9_]+")
PREFERENCES = ("code", "example", "decline_code")
THREADS = 20


class Documented(NamedTuple):
    """One answer that the contract documents, by its example.

    Attributes:
        name: that of the problem; nothing where all is well.
    """

    status: int
    name: str
    media_type: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def preference(self) -> str:
        """Tell what to prefer to get it."""
        return f"code={self.status}" + (f", example={self.name}" if self.name else "")


class MockedOperation:
    """Answers one operation's requests, once they are known to follow the contract.

    Args:
        operation: what the contract says.
    """

    def __init__(self, operation: Document) -> None:
        self.answers = list(_documented(operation))
        self._body = [one["name"] for one in operation["parameters"] if one["in"] == "body"]

    def __call__(self, **arguments: Any) -> flask.Response:
        """Answer a request.

        Raises:
            InvalidRequest: there is no such answer as it prefers.
            CardRefused, TokenRefused: it prefers none, and its token is one of the test tokens
                that are refused.
        """
        [sent] = [arguments[name] for name in self._body] or [{}]
        preferred = _preferences()
        if not preferred:
            _refuse(sent.get("coord_targeted_token", ""))
        answer = self._find(preferred)
        told = {**sent, "request_id": trace.current().request_id}
        body = {name: told.get(name, value) for name, value in answer.body.items()}
        if answer.status == 402 and "decline_code" in preferred:
            body["decline_code"] = preferred["decline_code"]
        return flask.Response(
            json.dumps(body), answer.status, answer.headers, content_type=answer.media_type
        )

    def _find(self, preferred: dict[str, str]) -> Documented:
        wanted = {name: preferred[name] for name in ("code", "example") if name in preferred}
        for answer in self.answers:
            if wanted.items() <= {"code": str(answer.status), "example": answer.name}.items():
                return answer
        known = "; ".join(answer.preference for answer in self.answers)
        raise InvalidRequest(f"The header `Prefer` names none of the documented answers: {known}.")


class _Mocks(Resolver):  # type: ignore[misc]  # Connexion has no types
    """Finds each operation's mock in the place of its function."""

    def __init__(self, contract: Contract) -> None:
        super().__init__()
        self.operations = {
            operation["operationId"]: MockedOperation(operation)
            for _, operation in operations(contract.document)
        }

    def resolve_function_from_operation_id(self, operation_id: str) -> MockedOperation:
        return self.operations[operation_id]


class WellFormed:
    """In the place of `app.identity.credentials.Identity`: believes what looks right."""

    async def partner_of(self, access_key: str) -> int:
        """Give the one partner that there is.

        Raises:
            InvalidAccessKey: it does not look like a key.
        """
        if not is_well_formed(access_key):
            raise InvalidAccessKey
        return 1

    async def user_of(self, jwt: str) -> User:
        """Give the one user that there is.

        Raises:
            InvalidUserToken: it is no JWT.
        """
        read(jwt)
        return User(issuer_id=1, partner_id=1, subject="mock-user", email=None, is_test=False)


class Mock(AbstractContextManager["Mock"]):
    """The mock on this machine, for as long as the block lasts.

    Args:
        port: where it listens; 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken.
    """

    def __init__(self, port: int) -> None:
        contract = Contract.shipped("swagger.yaml")
        self._mocks = _Mocks(contract)
        self._settings = Settings(trusted_proxies=(), cors_origins=Loopback())
        self.app = self._wired(contract)
        self._socket = server.listen(port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def introduction(self) -> str:
        """Tell what there is to try, as printed at the start."""
        answers = [f"Prefer: {preference}" for preference in self.preferences()]
        return textwrap.dedent(
            f"""\
            Coord Users API, mock: the contract's examples, and no more; Ctrl-C ends it.

            Explorer     {self.url}/v1/users/ui/
            Access key   {ACCESS_KEY}
            User JWT     {USER_JWT}

            Each documented answer is given to those who prefer it by a header:

            {(chr(10) + " " * 12).join(answers)}

            For instance:

            curl -sS '{self.url}/v1/users/user/current/stripe_info?access_key={ACCESS_KEY}' \\
              -H 'Authorization: Bearer {USER_JWT}' \\
              -H 'Content-Type: application/json' \\
              -H 'Prefer: code=402, example=expired_card' \\
              -d '{{"coord_targeted_token": "{GOOD_TOKEN}"}}'
            """
        )

    def preferences(self) -> tuple[str, ...]:
        """Tell each answer that can be asked for."""
        operations = self._mocks.operations.values()
        return tuple(one.preference for operation in operations for one in operation.answers)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until the process is told to stop, by Ctrl-C or SIGTERM.

        Args:
            ready: called once requests are taken.
        """
        server.run(self.app, self._settings, self._socket, ready)

    def _wired(self, contract: Contract) -> Edge:
        @asynccontextmanager
        async def lifespan(_app: object) -> AsyncIterator[dict[str, Any]]:
            yield {"identity": WellFormed()}

        prefilled = Prefilled(ACCESS_KEY, USER_JWT, lambda: GOOD_TOKEN, self.preferences())
        app = serve_contract(contract, self._mocks, lifespan, threads=THREADS, prefilled=prefilled)
        return Edge(app, Problems(contract), {}, Metrics(), self._settings)


def _documented(operation: Document) -> Iterator[Documented]:
    for status, response in operation["responses"].items():
        headers = {
            name: str(header["x-example"])
            for name, header in response["headers"].items()
            if "x-example" in header
        }
        [(media_type, example)] = response["examples"].items()
        problems = response.get("x-problems", {"": {"example": example}})
        for name, problem in problems.items():
            yield Documented(int(status), name, media_type, headers, problem["example"])


def _refuse(token: str) -> None:
    """Refuse Stripe's test tokens as the sandbox does."""
    if decline := TEST_TOKENS.get(token):
        raise CardRefused(code=decline.code, decline_code=decline.decline_code)
    if token in REFUSED_TOKENS:
        raise TokenRefused(code=REFUSED_TOKENS[token])


def _preferences() -> dict[str, str]:
    """Read what the request prefers; what only others understand is passed over, by RFC 7240.

    Raises:
        InvalidRequest: the reason preferred for a decline has another form than Stripe's have.
    """
    given = parse_dict_header(", ".join(flask.request.headers.getlist("Prefer")))
    lower = {name.lower(): value for name, value in given.items()}
    preferred = {name: value for name in PREFERENCES if (value := lower.get(name))}
    if not CODE.fullmatch(preferred.get("decline_code", "generic_decline")):
        raise InvalidRequest("The `decline_code` that is preferred has another form.")
    if "decline_code" in preferred:
        preferred.setdefault("code", "402")
    return preferred
