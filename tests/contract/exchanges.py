"""Requests and their answers, kept to be counted: a line of JSON for each, without credentials."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

GIVEN = "(given)"
# Credentials: only that they were sent is recorded.
CREDENTIALS = ("access_key", "authorization")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer.

    Attributes:
        path: as it was sent, without the query.
        query: pairs, in order; the access key's value is left out.
        request_headers: by lower-case name; the JWT is left out.
        request_body: as it was sent.
        headers: the answer's, by lower-case name.
        body: the answer's.
    """

    method: str
    path: str
    query: list[list[str]]
    request_headers: dict[str, str]
    request_body: str
    status: int
    headers: dict[str, str]
    body: str

    @classmethod
    def of(
        cls,
        method: str,
        url: str,
        request_headers: Mapping[str, Any],
        request_body: bytes | str | None,
        status: int,
        headers: Mapping[str, Any],
        body: bytes,
    ) -> "Exchange":
        """Take down one exchange; bytes that are no text are kept as well as may be."""
        split = urlsplit(url)
        sent = request_body or b""
        return cls(
            method.upper(),
            split.path,
            [[name, _kept(name, value)] for name, value in parse_qsl(split.query, True)],
            {name: _kept(name, value) for name, value in _lower(request_headers).items()},
            sent if isinstance(sent, str) else sent.decode("utf-8", "replace"),
            status,
            _lower(headers),
            body.decode("utf-8", "replace"),
        )

    def json(self) -> Any:
        """Read the answer's body, None where it is no JSON."""
        return _json(self.body)

    def sent(self) -> Any:
        """Read the request's body, None where it is no JSON."""
        return _json(self.request_body)


def write(exchange: Exchange, file: Path) -> None:
    """Add an exchange to a file."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(exchange)) + "\n")


def read(files: Iterable[Path]) -> Iterator[Exchange]:
    """Yield all exchanges of some files."""
    for file in files:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                yield Exchange(**json.loads(line))


def _lower(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): _text(value) for name, value in headers.items()}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return ", ".join(value) if isinstance(value, list) else str(value)


def _kept(name: str, value: str) -> str:
    return GIVEN if name in CREDENTIALS and value else value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
