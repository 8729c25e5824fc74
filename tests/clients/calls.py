"""What is asked of each client, and what each makes of the answer."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class Call(NamedTuple):
    """One call of the operation, with whatever credentials and token."""

    access_key: str
    user_jwt: str
    token: str


class Outcome(NamedTuple):
    """An answer as a client gives it to the program that uses it.

    Attributes:
        status: the answer's HTTP status.
        kind: the name of the type that the program gets: a model's, or the error's that is raised.
        members: what it holds, by the document's names.
    """

    status: int
    kind: str
    members: dict[str, Any]


class Client(Protocol):
    """A client made by others' code from the served document.

    Attributes:
        kinds: by status, the name of the type that a program gets.
    """

    kinds: dict[int, str]

    def save(self, call: Call) -> Outcome:
        """Save a card, as a partner's program would."""
