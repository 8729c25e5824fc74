"""A storm of users while Stripe sends interim responses: each gets the customer that is theirs."""

import hashlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from support.raw_server import Server
from support.serving import Caller, Partner, Service

from app.config import Settings

# How long Stripe takes for its answer after the interim responses, in seconds.
ANSWERS_AFTER = 0.4
# How long after one user the next one comes, in seconds.
APART = 0.05
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\n\r\n"
# What is sent at once, each piece in a packet of its own, and what with the answer.
INTERIM = (
    ([HINTS], b""),
    ([CONTINUE], b""),
    ([PROCESSING], b""),
    ([HINTS[:9], HINTS[9:30], HINTS[30:]], b""),
    ([CONTINUE, PROCESSING, HINTS, HINTS], b""),
    ([HINTS + HINTS[:20]], HINTS[20:]),
    ([], CONTINUE + HINTS),
)


def customer_of(email: str) -> str:
    """Return the id that this Stripe gives a new customer with an e-mail address."""
    return f"cus_{hashlib.sha256(email.encode()).hexdigest()[:14]}"


class Stripe:
    """Creates customers, and is in no hurry to say so."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._server = Server(self._talk)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> "Stripe":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.stop()

    def _talk(self, sock: socket.socket) -> None:
        body = self._server.last[sock].partition(b"\r\n\r\n")[2].decode()
        form = dict(parse_qsl(body))
        pieces, last = INTERIM[int(form["source"].rpartition("_")[2]) % len(INTERIM)]
        for piece in pieces:
            sock.sendall(piece)
        self._stopped.wait(ANSWERS_AFTER)
        metadata = {name[9:-1]: value for name, value in form.items() if name[:9] == "metadata["}
        customer = {
            "id": customer_of(form["email"]),
            "object": "customer",
            "created": int(time.time()),
            "livemode": False,
            "email": form["email"],
            "metadata": metadata,
        }
        content = json.dumps(customer).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        sock.sendall(last + head + content)


@pytest.mark.parametrize(
    ("requests", "callers"),
    [
        pytest.param(80, 8, id="80 requests"),
        # Some two minutes.
        pytest.param(10_000, 64, id="10,000 requests", marks=pytest.mark.long),
    ],
)
def test_every_user_gets_their_own_customer(
    settings: Settings, partner: Partner, requests: int, callers: int
) -> None:
    """Each request is answered 200 with the customer that was made for its user."""
    with Stripe() as stripe, Service(replace(settings, stripe_api_base=stripe.url)) as service:
        caller = Caller(service.url, partner)

        def save(number: int) -> str:
            time.sleep(number % callers * APART if number < callers else 0)
            email = f"user-{number}@example.com"
            response = caller.save(f"tok_{number}", f"user-{number}", email=email)
            result = response.json()
            expected = (200, customer_of(email))
            got = (response.status_code, result.get("customer_id"))
            return "" if got == expected else f"{number}: {got}, not {expected}: {result}"

        with caller, ThreadPoolExecutor(callers) as threads:
            wrong = [problem for problem in threads.map(save, range(requests)) if problem]
    assert wrong == []
