"""The floor: the same job with no framework and no SDK, two durable commits, one at a time.

The first commit tells what is about to be done, the second what came of it. Run with a port.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import sys
import time
import uuid
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import jwt
import uvloop
from cryptography.hazmat.primitives.serialization import load_pem_public_key

TARGET = re.compile(r"POST /v1/users/user/current/stripe_info\?access_key=(\S+) HTTP/1.1")
TOKEN = re.compile(r"tok_[A-Za-z0-9_]{1,251}")
ISSUER = os.environ["ISSUER"]
AUDIENCE = os.environ["AUDIENCE"]
PUBLIC_KEY: Any = load_pem_public_key(Path(os.environ["PUBLIC_KEY"]).read_bytes())
STRIPE = urlsplit(os.environ["STRIPE_API_BASE"])
KEY_HASHES = {hashlib.sha256(os.environ["ACCESS_KEY"].encode()).digest()}
SECRET_KEY = os.environ["STRIPE_SECRET_KEY"]

database = sqlite3.connect(
    os.environ["DATABASE_URL"].removeprefix("sqlite:///"), isolation_level=None
)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute(
    "create table users (id integer primary key, issuer text, subject text,"
    " stripe_customer_id text, attempt text, last_updated real, unique (issuer, subject))"
)
stripe = socket.create_connection((STRIPE.hostname, STRIPE.port))
stripe.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def created(token: str, attempt: str) -> str:
    """Create a customer at Stripe, and return its id."""
    body = urlencode({"source": token})
    stripe.sendall(
        (
            f"POST /v1/customers HTTP/1.1\r\nHost: {STRIPE.netloc}\r\n"
            f"Authorization: Bearer {SECRET_KEY}\r\nIdempotency-Key: {attempt}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    )
    head, _, body_bytes = stripe.recv(65536).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError("refused")
    return str(json.loads(body_bytes)["id"])


def saved(head: str, body: bytes) -> bytes:
    """Do the whole job and give the answer's body.

    Raises:
        ValueError, jwt.InvalidTokenError: the request is not in order.
    """
    lines = head.split("\r\n")
    target = TARGET.fullmatch(lines[0])
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if "uthorization" not in line)
    bearer = next((line for line in lines if line.lower().startswith("authorization: ")), "")
    if not target or hashlib.sha256(target[1].encode()).digest() not in KEY_HASHES:
        raise ValueError("access key")
    if headers["content-type"] != "application/json":
        raise ValueError("media type")
    claims = jwt.decode(bearer[22:], PUBLIC_KEY, ["RS256"], audience=AUDIENCE, issuer=ISSUER)
    info = json.loads(body)
    if info.keys() != {"coord_targeted_token"} or not TOKEN.fullmatch(info["coord_targeted_token"]):
        raise ValueError("body")
    attempt = uuid.uuid4().hex
    database.execute(
        "insert into users (issuer, subject, attempt) values (?, ?, ?)"
        " on conflict do update set attempt = excluded.attempt",
        (ISSUER, claims["sub"], attempt),
    )
    info["customer_id"] = created(info["coord_targeted_token"], attempt)
    database.execute(
        "update users set stripe_customer_id = ?, attempt = null, last_updated = ?"
        " where issuer = ? and subject = ? and attempt = ?",
        (info["customer_id"], time.time(), ISSUER, claims["sub"], attempt),
    )
    return json.dumps(info).encode()


class Caller(asyncio.Protocol):
    """One connection; its requests come one after the other."""

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not found or len(body) < int(length[1] if length else 0):
            return
        self.received = b""
        try:
            status, answer = b"200 OK", saved(head.decode(), body)
        except (ValueError, KeyError, jwt.InvalidTokenError):
            status, answer = b"400 Bad Request", b"{}"
        self.transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(answer), answer)
        )


async def main(port: int) -> None:
    """Serve until ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    # Between two requests, so that none is left half done.
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await loop.create_server(Caller, "127.0.0.1", port, backlog=4096)
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
