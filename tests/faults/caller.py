"""Calls the API by bare sockets: a client library would cost the tests more than the service."""

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from support.serving import PATH, Partner

# How long a caller waits for an answer, in seconds.
PATIENCE = 60.0


class Lost(Exception):
    """Raised when no whole answer came: the caller does not know what became of its request."""


@dataclass(frozen=True)
class Answer:
    """The response that a caller received."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """Return the body, which is an object of JSON in success and in failure."""
        result: dict[str, Any] = json.loads(self.body)
        return result

    @property
    def customer_id(self) -> str:
        return str(self.json["customer_id"])

    @property
    def code(self) -> str:
        return str(self.json.get("code", ""))


class Callers:
    """The users of one partner, all that there are."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        self._jwts: dict[str, str] = {}

    def save(self, url: str, token: str, subject: str) -> Answer:
        """Save a card on a connection of its own.

        Raises:
            Lost: the connection ended early, or was refused.
        """
        address = urlsplit(url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, PATIENCE)
        target, headers, body = self._request(token, subject)
        try:
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Lost from error
        finally:
            connection.close()

    async def save_soon(self, url: str, token: str, subject: str) -> Answer:
        """Do the same among thousands of others in one thread.

        Raises:
            Lost: as for `save`.
        """
        address = urlsplit(url)
        target, headers, body = self._request(token, subject)
        lines = [f"POST {target} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append(f"Content-Length: {len(body)}")
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                try:
                    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
                    head, _, content = (await reader.read()).partition(b"\r\n\r\n")
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise Lost from error
        first, *rest = head.decode("latin-1").split("\r\n")
        named = dict(line.lower().split(": ", 1) for line in rest)
        if len(content) != int(named.get("content-length", "-1")):
            raise Lost
        return Answer(int(first.split()[1]), named, content)

    def _request(self, token: str, subject: str) -> tuple[str, dict[str, str], bytes]:
        if subject not in self._jwts:
            self._jwts[subject] = self._partner.jwt(subject)
        headers = {
            "Authorization": f"Bearer {self._jwts[subject]}",
            "Content-Type": "application/json",
        }
        target = f"{PATH}?access_key={self._partner.access_key}"
        return target, headers, json.dumps({"coord_targeted_token": token}).encode()
