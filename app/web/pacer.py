"""Keeps the event loop responsive while many requests arrive at once."""

import asyncio
from collections import deque


class LoopPacer:
    """Lets one request proceed in each iteration of the event loop.

    The checks of a request keep the loop busy for half a millisecond. Of hundreds that arrive at
    once, asyncio would run all in one iteration; with the pacer, probes and refusals run in
    between.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_running = False

    async def wait_turn(self) -> None:
        """Wait until no other request proceeds in this iteration."""
        loop = asyncio.get_running_loop()
        if self._is_running:
            turn = loop.create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._is_running = True
            loop.call_soon(self._next)

    def _next(self) -> None:
        if not self._waiting:
            self._is_running = False
            return
        turn = self._waiting.popleft()
        # A cancelled one is done: requests are cancelled when they outlast the shutdown.
        if not turn.done():
            turn.set_result(None)
        asyncio.get_running_loop().call_soon(self._next)
