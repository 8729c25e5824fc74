"""Calls in threads for an event loop: results, errors, cancelled calls, the end."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from app.contract.threads import Threads
from app.errors import Overloaded

pytestmark = pytest.mark.anyio

SECONDS = 10.0


@pytest.fixture
def threads() -> Iterator[Threads[Any]]:
    opened: Threads[Any] = Threads(2, "some")
    yield opened
    opened.close()


async def test_result_and_error_arrive_in_the_loop(threads: Threads[Any]) -> None:
    assert await threads.run(lambda: threading.current_thread().name) == "some_0"
    error = LookupError("a")

    def fail() -> None:
        raise error

    with pytest.raises(LookupError) as raised:
        await threads.run(fail)
    assert raised.value is error


async def test_error_that_ends_iterators_arrives_too(threads: Threads[Any]) -> None:
    """A future of asyncio refuses it, and its caller would wait for ever."""
    with pytest.raises(RuntimeError):
        await threads.run(lambda: next(iter([])))


async def test_idle_thread_is_used_again(threads: Threads[Any]) -> None:
    names = {await threads.run(lambda: threading.current_thread().name) for _ in range(5)}
    assert names == {"some_0"}


async def test_call_waits_while_all_threads_are_busy(threads: Threads[Any]) -> None:
    together, go_on = threading.Barrier(3, timeout=SECONDS), threading.Event()

    def block() -> str:
        together.wait()
        assert go_on.wait(SECONDS)
        return threading.current_thread().name

    blocked = [asyncio.create_task(threads.run(block)) for _ in range(2)]
    await asyncio.to_thread(together.wait)
    third = asyncio.create_task(threads.run(lambda: "third"))
    done, _ = await asyncio.wait([third], timeout=0.1)
    assert not done
    go_on.set()
    assert set(await asyncio.gather(*blocked)) == {"some_0", "some_1"}
    assert await third == "third"


async def test_call_waits_if_the_system_allows_no_more_threads(
    threads: Threads[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any thread it fails as an overload; afterwards all is as before."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Overloaded) as raised:
            await threads.run(lambda: "lost")
    assert raised.value.inner == "can't start new thread"
    go_on, busy = threading.Event(), threading.Event()

    def block() -> str:
        busy.set()
        assert go_on.wait(SECONDS)
        return threading.current_thread().name

    blocked = asyncio.create_task(threads.run(block))
    assert await asyncio.to_thread(busy.wait, SECONDS)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        waiting = asyncio.create_task(threads.run(lambda: threading.current_thread().name))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    go_on.set()
    assert (await blocked, await waiting) == ("some_0", "some_0")
    assert await threads.run(lambda: threading.current_thread().name) == "some_0"


async def test_cancelled_call_is_not_made(threads: Threads[Any]) -> None:
    """Unless it is under way: then its result is dropped."""
    together, go_on = threading.Barrier(3, timeout=SECONDS), threading.Event()
    made: list[str] = []

    def block() -> None:
        together.wait()
        assert go_on.wait(SECONDS)
        made.append("blocked")

    blocked = [asyncio.create_task(threads.run(block)) for _ in range(2)]
    await asyncio.to_thread(together.wait)
    waiting = asyncio.create_task(threads.run(lambda: made.append("waiting")))
    await asyncio.sleep(0)
    for task in (waiting, blocked[0]):
        task.cancel()
    await asyncio.wait([waiting, blocked[0]])
    go_on.set()
    await blocked[1]
    await threads.run(lambda: made.append("last"))
    await asyncio.to_thread(threads.close)
    assert sorted(made) == ["blocked", "blocked", "last"]
    assert waiting.cancelled()
    assert blocked[0].cancelled()


def test_loop_that_ended_meanwhile(threads: Threads[Any]) -> None:
    """The thread lives on."""
    go_on = threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(threads.run(lambda: go_on.wait(SECONDS)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    go_on.set()
    assert asyncio.run(threads.run(lambda: "next")) == "next"


async def test_nothing_is_kept_of_a_call(threads: Threads[Any]) -> None:
    """Neither by the idle thread, nor by a reference cycle through the error."""

    class Kept:
        pass

    kept = Kept()
    gone = weakref.ref(kept)

    def fail(_kept: Kept) -> None:
        raise LookupError

    gc.disable()
    try:
        with pytest.raises(LookupError):
            await threads.run(lambda kept=kept: fail(kept))
        del kept
        await threads.run(lambda: None)
        assert gone() is None
    finally:
        gc.enable()
