"""Callers in a process of their own, who read each answer, time it, and tell whether it is right.

Run as `python load.py FILE`, a JSON file of `Load`'s fields; prints one JSON object, `LoadResult`.
wrk makes more requests from less processor, but has no pace and keeps no single answer.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import uvloop

PATH = "/v1/users/user/current/stripe_info"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")
RETRY_AFTER = re.compile(rb"(?i)\r\nretry-after: \d+")
# How long to wait for answers once no more requests are made, in seconds.
PATIENCE = 60.0


@dataclass(frozen=True)
class Load:
    """What to send, from where, and how fast.

    Attributes:
        port: where the server is.
        callers: the file with an access key and a JWT for each user on a line.
        access_key: in the place of the file's.
        first: the number of the first user.
        number: how many requests to make, each another user's.
        connections: how many callers there are; each waits for its answer before it goes on.
        rate: requests a second, whatever becomes of them; 0 for as fast as the answers come.
        seconds: after which no more are made.
        token: the text of a card token before the user's number.
        customer: the text of its customer's id before it.
    """

    port: int
    callers: str
    access_key: str = ""
    first: int = 0
    number: int = 1_000_000
    connections: int = 1
    rate: float = 0.0
    seconds: float = 60.0
    token: str = "tok_"
    customer: str = "cus_"


@dataclass
class LoadResult:
    """What came of it.

    Attributes:
        seconds: for each status, how long each of its answers took.
        began: for each 200, when its request was made, in seconds since the load began.
        bad: answers that were not right.
        said: the last of them.
        took: seconds until the last answer.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    began: list[float] = field(default_factory=list)
    bad: int = 0
    said: str = ""
    took: float = 0.0


class Caller(asyncio.Protocol):
    """One connection; its requests come one after the other."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.answer: asyncio.Future[bytes] | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(self.received, 0, end)
        if len(self.received) < end + 4 + (int(length[1]) if length else 0):
            return
        whole = bytes(self.received)
        self.received.clear()
        if self.answer and not self.answer.done():
            self.answer.set_result(whole)

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionError("the server closed the connection"))

    async def ask(self, request: bytes) -> bytes:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answer


class Run:
    """One load on its way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.result = LoadResult()
        first, *jwts = Path(load.callers).read_text().splitlines()
        self.access_key = load.access_key or first
        self.jwts = jwts
        self.left = iter(range(load.first, min(load.first + load.number, len(jwts))))
        self.idle: list[Caller] = []

    async def run(self) -> LoadResult:
        """Send it all and read all answers."""
        self.idle = list(
            await asyncio.gather(*(self.connected() for _ in range(self.load.connections)))
        )
        self.start = time.perf_counter()
        if self.load.rate:
            await self.paced()
        else:
            await asyncio.gather(*(self.closed() for _ in range(self.load.connections)))
        self.result.took = time.perf_counter() - self.start
        return self.result

    async def closed(self) -> None:
        """Be one caller who waits for each answer."""
        while time.perf_counter() - self.start < self.load.seconds:
            if (number := next(self.left, None)) is None:
                return
            await self.once(number)

    async def paced(self) -> None:
        """Make requests by the clock; a late one counts from when it was due."""
        tasks = []
        loop = asyncio.get_running_loop()
        for place, number in enumerate(self.left):
            due = place / self.load.rate
            if due > self.load.seconds:
                break
            wait = self.start + due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.append(loop.create_task(self.once(number)))
        await asyncio.wait(tasks, timeout=PATIENCE)

    async def once(self, number: int) -> None:
        """Make one request and judge its answer."""
        caller = self.idle.pop() if self.idle else await self.connected()
        began = time.perf_counter()
        try:
            answer = await asyncio.wait_for(caller.ask(self.request(number)), PATIENCE)
        except (TimeoutError, OSError) as error:
            self.result.bad += 1
            self.result.said = repr(error)
            caller.transport.abort()
            return
        seconds = time.perf_counter() - began
        if not caller.lost:
            self.idle.append(caller)
        status = answer[9:12].decode()
        self.result.seconds.setdefault(status, []).append(round(seconds, 6))
        if status == "200":
            self.result.began.append(round(began - self.start, 6))
            is_right = self.is_right(answer, number)
        else:
            is_right = status == "503" and RETRY_AFTER.search(answer) is not None
        if not is_right:
            self.result.bad += 1
            self.result.said = answer[-500:].decode("latin-1")

    async def connected(self) -> Caller:
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(Caller, "127.0.0.1", self.load.port)
        return caller

    def request(self, number: int) -> bytes:
        """Return one user's request as it goes over the wire."""
        body = f'{{"coord_targeted_token": "{self.load.token}{number}"}}'
        return (
            f"POST {PATH}?access_key={self.access_key} HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nAuthorization: Bearer {self.jwts[number]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def is_right(self, answer: bytes, number: int) -> bool:
        """Return whether it names the customer made of this user's own token."""
        expected = {
            "coord_targeted_token": f"{self.load.token}{number}",
            "customer_id": f"{self.load.customer}{number}",
        }
        return bool(json.loads(answer.partition(b"\r\n\r\n")[2]) == expected)


if __name__ == "__main__":
    result = uvloop.run(Run(Load(**json.loads(Path(sys.argv[1]).read_text()))).run())
    print(json.dumps(asdict(result)))
