"""Pictures of what was measured."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from bench.arena import LABELS, OURS
from bench.figures import Spread
from matplotlib import pyplot as plt

# Okabe and Ito's palette, told apart by all kinds of eyes; ours is the darkest.
OURS_COLOUR, OTHERS, THIRD = "#0072B2", "#999999", "#D55E00"
BARS = (
    ("rate", "requests/s, Stripe at 0 ms"),
    ("cpu_ms", "CPU ms for a request"),
    ("slow_rate", "requests/s, Stripe at 300 ms"),
)
INSTRUCTIONS = ("instructions", "million instructions")


def draw(results: dict[str, Any], folder: Path, command: str) -> list[Path]:
    """Draw the servers side by side and, where it was measured, how cost grows.

    Args:
        results: of the benchmark.
        folder: takes the pictures.
        command: is named in each.

    Returns:
        The pictures.
    """
    # Files that are the same where the figures are.
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "bench", "font.size": 9, "axes.grid": True})
    mpl.rcParams.update({"axes.axisbelow": True, "grid.color": "#dddddd"})
    pictures = [_servers(results, folder, command)]
    if "layers" in results:
        pictures.append(_layers(results["layers"], folder, command))
    if "growth" in results:
        pictures.append(_growth(results["growth"], folder, command))
    return pictures


def _servers(results: dict[str, Any], folder: Path, command: str) -> Path:
    rounds, counted = results["rounds"], results.get("instructions", {})
    # Where valgrind is not installed, there are no instructions beside the times.
    bars = [*BARS, *([INSTRUCTIONS] if counted else [])]
    figure, axes = plt.subplots(1, len(bars), figsize=(11, 2.8), layout="constrained")
    names = list(LABELS)[::-1]
    for turn in rounds:
        for name, number in counted.items():
            turn[name] = {**turn[name], INSTRUCTIONS[0]: number / 1e6}
    for place, (axis, (key, label)) in enumerate(zip(axes, bars, strict=True)):
        for height, name in enumerate(names):
            values = [turn[name][key] for turn in rounds if key in turn[name]]
            if not values:
                axis.text(0, height, " one at a time", va="center", color="#555555")
                continue
            spread = Spread.of(values)
            error = [[spread.median - spread.least], [spread.most - spread.median]]
            colour = OURS_COLOUR if name == OURS else OTHERS
            axis.barh(height, spread.median, xerr=error, color=colour, capsize=3)
        axis.set_xlabel(label)
        axis.set_xlim(left=0)
        axis.set_ylim(-0.6, len(names) - 0.4)
        labels = [LABELS[name].partition(":")[0] for name in names]
        axis.set_yticks(range(len(names)), labels if place == 0 else [""] * len(names))
        axis.grid(visible=False, axis="y")
    return _saved(
        figure, folder / "servers.svg", f"medians and extremes of {len(rounds)} rounds", command
    )


def _layers(layers: dict[str, float], folder: Path, command: str) -> Path:
    figure, axis = plt.subplots(figsize=(10, 3.6), layout="constrained")
    names = list(layers)[::-1]
    bars = axis.barh(names, [layers[name] / 1e6 for name in names], color=OURS_COLOUR)
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.set_xlabel("million instructions")
    axis.grid(visible=False, axis="y")
    return _saved(figure, folder / "layers.svg", "instructions of a save, by layer", command)


def _growth(growth: dict[str, Any], folder: Path, command: str) -> Path:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
    sizes = list(growth["by_users"])
    for kind, colour, mark in (("stored", OURS_COLOUR, "o"), ("new", THIRD, "s")):
        spreads = [
            Spread.of([it[f"{kind}_ms"] for it in growth["by_users"][size]]) for size in sizes
        ]
        _line(left, [int(size) for size in sizes], spreads, colour, mark, f"users who are {kind}")
    left.set(xscale="log", xlabel="users stored in PostgreSQL", ylabel="median time of one, ms")
    left.set_ylim(bottom=0)
    left.legend()
    workers = list(growth["by_workers"])
    spreads = [Spread.of(growth["by_workers"][it]) for it in workers]
    _line(right, [int(it) for it in workers], spreads, OURS_COLOUR, "o", "")
    right.set_xticks([int(it) for it in workers])
    shared = f"workers, on {growth['cores']} cores shared with load, Stripe's stub and PostgreSQL"
    right.set(xlabel=shared, ylabel="requests/s, Stripe at 0 ms")
    right.set_ylim(bottom=0)
    return _saved(figure, folder / "growth.svg", "medians and extremes of all rounds", command)


def _line(
    axis: Any, places: list[int], spreads: list[Spread], colour: str, mark: str, label: str
) -> None:
    medians = [it.median for it in spreads]
    below = [it.median - it.least for it in spreads]
    above = [it.most - it.median for it in spreads]
    axis.errorbar(
        places, medians, yerr=[below, above], color=colour, marker=mark, capsize=3, label=label
    )


def _saved(figure: Any, path: Path, shows: str, command: str) -> Path:
    figure.suptitle(f"{shows}; {command}", fontsize=8, color="#555555")
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    plt.close(figure)
    return path
