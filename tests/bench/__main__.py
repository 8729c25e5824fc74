"""The benchmark, run as `python -m bench`: peers, floor and ours, measured and told."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import growth, instructions, layers, plots, readme, rounds, slow, table
from bench.arena import LABELS, OURS, Arena, WrongAnswer
from bench.callers import Callers

HERE = Path(__file__).parent
KEPT = HERE / "results"
README = HERE / "README.md"
COMMAND = "tox run -e bench -- --publish"
SIZES = [1_000, 100_000, 10_000_000]


def main() -> None:
    """Measure, print the tables, and save figures and pictures."""
    options = _options()
    began = time.monotonic()
    results: dict[str, Any] = {"machine": _machine()}
    if options.render:
        results = json.loads(options.render.read_text())
    else:
        with tempfile.TemporaryDirectory(prefix="coord-bench-") as name:
            try:
                _measure(Path(name), options, results)
            except WrongAnswer as wrong:
                sys.exit(f"The figures would say nothing: {wrong}")
        results["seconds"] = round(time.monotonic() - began)
    out = KEPT if options.publish else options.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    pictures = plots.draw(results, out, COMMAND)
    print(table.markdown(results))
    print(f"\nSaved in {out}: results.json, {', '.join(picture.name for picture in pictures)}")
    if options.publish:
        README.write_text(readme.with_figures(README.read_text(), results, COMMAND))


def _measure(folder: Path, options: argparse.Namespace, results: dict[str, Any]) -> None:
    wrk = shutil.which("wrk") or ""
    if not wrk:
        print("wrk is not installed (`apt-get install wrk`): our own callers take its place")
    results["load"] = "wrk" if wrk else "own"
    arena = Arena(folder, Callers(folder, rounds.CALLERS), wrk)
    results["rounds"] = rounds.measured(arena, options.rounds, options.seconds)
    if shutil.which("valgrind") and not options.quick:
        counted = {name: instructions.counted(arena, name) for name in LABELS}
        results["instructions"] = counted
        samples = instructions.samples(arena, OURS)
        results["layers"] = layers.measured(arena, counted[OURS], samples)
    times = range(1 if options.quick else 3)
    length = 3.0 if options.quick else 5.0
    for name, measure in (
        ("at_stripes_pace", lambda: slow.at_stripes_pace(arena, length)),
        ("beyond_capacity", lambda: slow.beyond_capacity(arena, length)),
        ("callers_who_go", lambda: slow.callers_who_go(arena)),
        ("bad_day", lambda: slow.bad_day(arena, 3.0 if options.quick else slow.BAD_DAY_SECONDS)),
    ):
        results[name] = [measure() for _ in times]
        print(f"{name}: {results[name][-1]}", flush=True)
    if not options.quick:
        with growth.postgresql() as server:
            results["growth"] = {
                **growth.by_users(arena, server, SIZES, options.rounds, 2.0),
                **growth.by_workers(arena, server, 3, options.seconds),
            }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="of all servers in turn; 3, or 1 with --quick")
    parser.add_argument("--seconds", type=int, help="for each measurement; 4, or 2 with --quick")
    parser.add_argument("--quick", action="store_true", help="a minute, without PostgreSQL")
    parser.add_argument("--publish", action="store_true", help="write the results into README.md")
    parser.add_argument("--render", type=Path, help="tell results that were saved, measure nothing")
    parser.add_argument("--out", type=Path, default=Path("artifacts/bench"))
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2 if options.quick else 4)
    return options


def _machine() -> dict[str, Any]:
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": model[0] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
