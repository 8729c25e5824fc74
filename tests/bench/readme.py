"""The figures in tests/bench/README.md: written between two marks, from what was measured."""

from typing import Any

from bench.table import markdown

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
PICTURES = "results"


def with_figures(text: str, results: dict[str, Any], command: str) -> str:
    """Return the README with new figures.

    Args:
        text: of the README, with both marks in it.
        results: of the benchmark.
        command: made them.

    Raises:
        ValueError: a mark is missing.
    """
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"The README has no {BEGIN} before a {END}")
    return f"{before}{BEGIN}\n{_section(results, command)}\n{END}{after}"


def _section(results: dict[str, Any], command: str) -> str:
    machine = results["machine"]
    alt = "Requests a second and CPU for a request: this service, three peers, the floor"
    lines = [
        f"Measured by `{command}` in {results['seconds']} s, {len(results['rounds'])} rounds, "
        f"Python {machine['python']} on {machine['cores']} cores ({machine['processor']}): "
        "the server on one, load and Stripe's stub on the other. Others kept "
        f"{machine['load_before']} processes busy on the machine when it began.",
        "",
        f"![{alt}]({PICTURES}/servers.svg)",
        "",
        markdown(results),
    ]
    if "growth" in results:
        alt = "Time of a request by users stored, and throughput by workers"
        lines += ["", f"![{alt}]({PICTURES}/growth.svg)"]
    return "\n".join(lines)
