"""Keeps the event loop free for what is quick while a crowd waits to be checked."""

import asyncio
from collections import deque


class Turnstile:
    """Lets one request pass in each round of the event loop.

    What is checked on the loop takes it half a millisecond for each request, and of hundreds that
    come at once all would be checked in one round: probes and refusals slip in between.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_turning = False

    async def pass_through(self) -> None:
        """Wait for one's turn."""
        loop = asyncio.get_running_loop()
        if self._is_turning:
            turn = loop.create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._is_turning = True
            loop.call_soon(self._turn)

    def _turn(self) -> None:
        if not self._waiting:
            self._is_turning = False
            return
        turn = self._waiting.popleft()
        # Done is one whose request was cancelled, as those are that outlast the shutdown.
        if not turn.done():
            turn.set_result(None)
        asyncio.get_running_loop().call_soon(self._turn)
