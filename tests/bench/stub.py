"""A stand-in for Stripe that costs next to nothing: it makes customers after a delay, and counts.

Run as `python stub.py`; it prints its port. The customer's id is made from the card token, `tok_7`
to `cus_7`, or is the one that the call names, so that the reader of an answer can check whether it
is the right one. `GET /calls` tells how many calls came, and how many different tokens they held;
`GET /delay/0.3` has the next calls answered after 0.3 s.
"""

import asyncio
import json
import re
from typing import cast

import uvloop

TOKEN = re.compile(rb"(?:^|&)source=tok_(\w+)")
METADATA = re.compile(rb"(?:^|&)metadata\[(\w+)\]=([^&]*)")
KNOWN = re.compile(rb"POST /v1/customers/cus_(\w+) ")
CUSTOMER = (
    b'{"id": "cus_%s", "object": "customer", "livemode": false, "metadata": %s,'
    b' "default_source": "card_bench"}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRequest-Id: req_bench\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)


class Account:
    """What was asked of Stripe so far."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.calls = 0
        self.tokens: set[bytes] = set()

    def as_json(self) -> bytes:
        """Return it as JSON."""
        return json.dumps({"calls": self.calls, "customers": len(self.tokens)}).encode()


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after the other."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self.received = b""
        if head.startswith(b"GET "):
            self.control(head.split(b" ", 2)[1].decode())
            return
        token = TOKEN.search(body)
        number = token[1] if token else b""
        known = KNOWN.match(head)
        self.account.calls += 1
        self.account.tokens.add(number)
        # By which the caller knows that this is the answer to its call.
        metadata = {name.decode(): value.decode() for name, value in METADATA.findall(body)}
        customer = known[1] if known else number
        answer = CUSTOMER % (customer, json.dumps(metadata).encode())
        if self.account.delay:
            asyncio.get_running_loop().call_later(self.account.delay, self.send, answer)
        else:
            self.send(answer)

    def control(self, path: str) -> None:
        if path.startswith("/delay/"):
            self.account.delay = float(path.removeprefix("/delay/"))
        self.send(self.account.as_json())

    def send(self, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(ANSWER % (len(body), body))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def main() -> None:
    """Serve until ended."""
    account = Account()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(account), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
