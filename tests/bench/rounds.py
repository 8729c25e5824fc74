"""Peers, floor and ours in turn, round after round, so that a noisy minute hits all alike."""

from bench.arena import FLOOR, LABELS, OURS, Arena, Running
from bench.figures import steady

CONNECTIONS, MANY = 32, 256
STRIPE_SECONDS = 0.3
# Users who call while servers warm up, and those set aside for each measurement.
WARM_USERS, USERS = 3_000, 8_000
CALLERS = WARM_USERS + 2 * USERS
# With a slow Stripe, the answers of the first seconds say little.
RAMP_SECONDS = 2.0

Round = dict[str, dict[str, float]]


def measured(arena: Arena, number: int, seconds: int) -> list[Round]:
    """Measure all servers in each of several rounds.

    Args:
        arena: where they run.
        number: of rounds.
        seconds: for each measurement.

    Returns:
        For each round and server: `rate` at 0 ms and `slow_rate` at 300 ms in requests/s,
        `cpu_ms` for a request at 0 ms, `ready_s` from the start, `ready_mb` and `peak_mb`
        resident.
    """
    names = list(LABELS)
    rounds = []
    for place in range(number):
        turn = place % len(names)
        it = {name: _one(arena, name, seconds) for name in names[turn:] + names[:turn]}
        rounds.append(it)
        result = ", ".join(f"{name} {it[name]['rate']:.0f}/s" for name in names)
        print(f"round {place + 1} of {number}: {result}", flush=True)
    return rounds


def _one(arena: Arena, name: str, seconds: int) -> dict[str, float]:
    with arena.serving(name) as server:
        ready_mb = server.process.peak_megabytes()
        arena.press(server, CONNECTIONS, 1, first=0)
        calls, spent = server.stripe()["calls"], server.process.cpu_seconds()
        rate = arena.press(server, CONNECTIONS, seconds, first=WARM_USERS)
        spent = server.process.cpu_seconds() - spent
        calls = server.stripe()["calls"] - calls
        result = {
            "rate": rate,
            "cpu_ms": 1000 * spent / calls,
            "ready_s": server.ready_after,
            "ready_mb": ready_mb,
        }
        # The floor does one thing at a time: with a slow Stripe it would stand still.
        if name != FLOOR:
            server.stripe(f"/delay/{STRIPE_SECONDS}")
            result["slow_rate"] = _slow_rate(arena, server, seconds)
        result["peak_mb"] = server.process.peak_megabytes()
        if name == OURS and server.database:
            result["database_bytes"] = server.database.stat().st_size
    return result


def _slow_rate(arena: Arena, server: Running, seconds: int) -> float:
    lasting = RAMP_SECONDS + seconds
    load = arena.load(server, lasting, connections=MANY, first=WARM_USERS + USERS)
    ends = [began + took for began, took in zip(load.began, load.seconds["200"], strict=True)]
    return steady(ends, RAMP_SECONDS, lasting)
