"""A service to attack over a raw socket, and what is checked in its responses."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from support.serving import PATH, Partner, Service

from app.config import Settings
from app.sandbox.standin.server import StandIn
from app.storage.database import Database

BODY = b'{"coord_targeted_token": "tok_visa"}'
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
MARK = b"MARKED"
DEADLINE = 10.0


class Target(NamedTuple):
    """A service, and credentials that it takes."""

    address: tuple[str, int]
    query: bytes
    authorization: bytes

    def request(self, *fields: bytes, body: bytes = BODY, start: bytes = b"") -> bytes:
        """Write a request; fields of one name take the place of the usual ones."""
        usual = {
            b"Host": b"Host: x",
            b"Authorization": b"Authorization: " + self.authorization,
            b"Content-Type": b"Content-Type: application/json",
            b"Content-Length": b"Content-Length: %d" % len(body),
            b"Connection": b"Connection: close",
        }
        for field in fields:
            usual.pop(field.partition(b":")[0], None)
            if b"Transfer-Encoding" in field:
                usual.pop(b"Content-Length", None)
        start = start or b"POST %b?%b HTTP/1.1" % (PATH.encode(), self.query)
        lines = [start, *usual.values(), *(field for field in fields if not field.endswith(b": -"))]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def send(self, request: bytes) -> bytes:
        """Send all of it, and read until the end of the connection."""
        with socket.create_connection(self.address, DEADLINE) as sock:
            sock.sendall(request)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        return answer


@contextlib.contextmanager
def attacked(folder: Path) -> Iterator[Target]:
    """Yield a service that runs in this process, with its database in a folder."""
    url = f"sqlite:///{folder}/users.db"
    database = Database(url)
    database.migrate()
    partner = Partner(database)
    with StandIn() as standin:
        settings = Settings(
            database_url=url, stripe_secret_key="sk_test_1", stripe_api_base=standin.url
        )
        with Service(settings) as service:
            address = urlsplit(service.url)
            yield Target(
                (str(address.hostname), int(address.port or 0)),
                b"access_key=" + partner.access_key.encode(),
                b"Bearer " + partner.jwt().encode(),
            )
    database.close()


def statuses(answers: bytes) -> list[int]:
    """Return the status of each answer of a connection."""
    return [int(rest[:3]) for rest in answers.split(b"HTTP/1.1 ")[1:]]


def problem(answer: bytes) -> dict[str, object]:
    """Check that a response has the form of all errors, and return its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = {
        name.lower(): value.decode("latin-1")
        for name, _, value in (line.partition(b": ") for line in head.split(b"\r\n")[1:])
    }
    assert headers[b"content-type"] == "application/problem+json"
    assert headers[b"x-content-type-options"] == "nosniff"
    assert headers[b"cache-control"] == "no-store"
    assert b"content-security-policy" in headers
    parsed: dict[str, object] = json.loads(body)
    assert parsed["request_id"] == headers[b"x-request-id"]
    assert len(answer) < 1000
    assert MARK not in answer
    return parsed
