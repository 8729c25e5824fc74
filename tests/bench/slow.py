"""Ours on Stripe's slow days, at its pace, and beyond its capacity."""

import asyncio
from typing import Any

import uvloop
from bench.arena import OURS, Arena, Running, WrongAnswer
from bench.figures import percentile
from bench.load import Caller, Load, Run

BAD_DAY_SECONDS, BAD_DAY_CALLERS = 10.0, 1_000
# How many customers one Stripe account lets be created in a second, in live mode
# (https://docs.stripe.com/rate-limits).
PACE, PACED_DELAY = 25.0, 0.3
# Beyond capacity: what one worker may work on at once, and how many times that is offered.
CAPACITY, SURPLUS = 100, 3
LEAVERS = 500


def bad_day(arena: Arena, delay: float = BAD_DAY_SECONDS) -> dict[str, float]:
    """Send all requests at once while Stripe takes ten seconds, two workers on one core."""
    with arena.serving(OURS, delay=delay, workers=2) as server:
        load = arena.load(server, 60, connections=BAD_DAY_CALLERS, number=BAD_DAY_CALLERS)
        answered = load.seconds.get("200", [])
        return {
            "callers": BAD_DAY_CALLERS,
            "stripe_s": delay,
            "answered": len(answered),
            "refused": sum(map(len, load.seconds.values())) - len(answered),
            "slowest_s": max(answered),
            "median_s": percentile(answered, 50),
            "peak_mb": server.process.peak_megabytes(),
            "calls": server.stripe()["calls"],
        }


def at_stripes_pace(arena: Arena, seconds: float) -> dict[str, float]:
    """Send what one Stripe account takes, and see what we add to the time that Stripe takes."""
    with arena.serving(OURS, delay=PACED_DELAY) as server:
        arena.load(server, 2, rate=PACE)
        before, spent = server.stripe()["calls"], server.process.cpu_seconds()
        load = arena.load(server, seconds, rate=PACE, first=1_000)
        spent = server.process.cpu_seconds() - spent
        own = [1000 * (took - PACED_DELAY) for took in load.seconds["200"]]
        calls = server.stripe()["calls"] - before
        if calls != len(own):
            raise WrongAnswer(f"{calls} calls to Stripe for {len(own)} answers")
        return {
            "rate": PACE,
            "median_ms": percentile(own, 50),
            "p99_ms": percentile(own, 99),
            "cpu_percent": 100 * spent / load.took,
            "n": len(own),
        }


def beyond_capacity(arena: Arena, seconds: float) -> dict[str, Any]:
    """Offer half of what the service is let to take, then three times as much as it is."""
    most = CAPACITY / PACED_DELAY
    with arena.serving(OURS, delay=PACED_DELAY, MAX_IN_FLIGHT=str(CAPACITY)) as server:
        arena.load(server, 2, rate=most / 2)
        within = arena.load(server, seconds, rate=most / 2, first=1_000)
        beyond = arena.load(server, seconds, rate=most * SURPLUS, first=4_000)
        refused = [1000 * took for took in beyond.seconds.get("503", [0.0])]
        return {
            "within_median_ms": 1000 * percentile(within.seconds["200"], 50),
            "within_refused": len(within.seconds.get("503", [])),
            "accepted": len(beyond.seconds["200"]),
            "accepted_median_ms": 1000 * percentile(beyond.seconds["200"], 50),
            "accepted_p99_ms": 1000 * percentile(beyond.seconds["200"], 99),
            "refused": len(refused),
            "refused_median_ms": percentile(refused, 50),
            "refused_p99_ms": percentile(refused, 99),
            "refused_slowest_ms": max(refused),
        }


def callers_who_go(arena: Arena) -> dict[str, float]:
    """Send many requests and disconnect at once; count the calls to Stripe that they cause."""
    with arena.serving(OURS) as server:
        arena.load(server, 1, rate=100.0)
        before = server.stripe()["calls"]
        uvloop.run(_call_and_go(arena, server))
        # Answered once the service has come to the end of those before it.
        arena.load(server, 5, number=1, first=1_000)
        calls = server.stripe()["calls"] - before - 1
        return {"callers": LEAVERS, "calls": calls}


async def _call_and_go(arena: Arena, server: Running) -> None:
    run = Run(Load(server.port, str(arena.callers.file), first=2_000))
    loop = asyncio.get_running_loop()
    callers = []
    for _ in range(LEAVERS):
        _, caller = await loop.create_connection(Caller, "127.0.0.1", server.port)
        callers.append(caller)
    for place, caller in enumerate(callers):
        caller.transport.write(run.request(2_000 + place))
        caller.transport.close()
