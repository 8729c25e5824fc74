"""Where the instructions of a save go, by layer. Run as `python -m bench.layers`.

callgrind counts what each library in C executes, and the interpreter as a whole. The interpreter's
part is divided among the layers by the bytecodes that each executes for a save, which is fair to
some 10 %: bytecodes differ in what they do.
"""

import json
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from bench import instructions
from bench.arena import OURS, Arena
from bench.callers import Callers

# The variable that names the file for the counts of bytecodes.
BYTECODES = "BENCH_BYTECODES"
WARM, SAVES = 80, 100
CALLERS = max(WARM + SAVES + 1, instructions.CALLERS)
SERVER, CONNEXION, FLASK = "uvicorn, the event loop", "Connexion, Starlette", "Flask, Werkzeug"
EDGE, CHECKS, IDENTITY = "our edge and bridge", "checks by the contract", "access key and JWT"
RULE, SQL, STRIPE = "the rule", "storage, SQLAlchemy's pool", "Stripe's SDK and our readings of it"
HTTP, LOG, OTHERS = "our HTTP client", "log and metrics", "others"
SIGNATURE, SQLITE, CURL = "OpenSSL: the JWT's signature", "SQLite", "libcurl"
# By the beginning of a path; the first that fits counts.
PACKAGES = (
    ("uvicorn/", SERVER),
    ("connexion/", CONNEXION),
    ("starlette/", CONNEXION),
    ("anyio/", CONNEXION),
    ("flask/", FLASK),
    ("werkzeug/", FLASK),
    ("a2wsgi/", FLASK),
    ("blinker/", FLASK),
    ("markupsafe/", FLASK),
    ("fastjsonschema", CHECKS),
    ("jsonschema", CHECKS),
    ("jwt/", IDENTITY),
    ("cryptography/", IDENTITY),
    ("sqlalchemy/", SQL),
    ("stripe/", STRIPE),
    ("structlog/", LOG),
    ("prometheus_client/", LOG),
)
OURS_BY_FOLDER = {
    "web": EDGE,
    "contract": EDGE,
    "identity": IDENTITY,
    "customers": RULE,
    "storage": SQL,
    "stripe_account": STRIPE,
    "http_client": HTTP,
    "telemetry": LOG,
}
OURS_BY_FILE = {
    "validation.py": CHECKS,
    "parameters.py": CHECKS,
    "compiled_schema.py": CHECKS,
    "handlers.py": RULE,
    "errors.py": RULE,
    "security.py": IDENTITY,
}
# Libraries in C by a part of their path. All others are the interpreter and what it calls.
LIBRARIES = (
    ("cryptography", SIGNATURE),
    ("sqlite3", SQLITE),
    ("curl", CURL),
    ("uvloop", SERVER),
    ("httptools", SERVER),
    ("sqlalchemy", SQL),
)
NAME = re.compile(r"c?ob=(\(\d+\))(?: (.*))?")


def layer_of(file: str, function: str) -> str:
    """Return the layer of a file of Python; empty for a module of Python's own library."""
    for beginning, layer in PACKAGES:
        if file.startswith(beginning):
            return layer
    if file == "<string>":
        # Compiled validators; the rest is what `dataclass` generates, for what calls it.
        return CHECKS if function == "validate" else ""
    folder, _, name = file.rpartition("/")
    if file.startswith("<") or "app" not in folder.split("/"):
        return ""
    return OURS_BY_FILE.get(name) or OURS_BY_FOLDER.get(folder.rpartition("/")[2], OTHERS)


def by_library(sample: str) -> Counter[str]:
    """Read from callgrind's file what each library executed itself.

    https://valgrind.org/docs/manual/cl-format.html
    """
    names: dict[str, str] = {}
    cost: Counter[str] = Counter()
    library, is_call = "", False
    for line in sample.splitlines():
        if found := NAME.match(line):
            if found[2]:
                names[found[1]] = found[2]
            if not line.startswith("c"):
                library = names[found[1]]
        elif line.startswith("calls="):
            # The next line has the cost of the called function.
            is_call = True
        elif line[:1] in "0123456789+-*" and line:
            cost[library] += 0 if is_call else int(line.split()[1])
            is_call = False
    return cost


def divided(libraries: Mapping[str, float], bytecodes: Mapping[str, float]) -> dict[str, float]:
    """Return the instructions of each layer, the largest first.

    Args:
        libraries: instructions by the path of the library.
        bytecodes: by layer.
    """
    layers: dict[str, float] = defaultdict(float)
    interpreter = 0.0
    for path, cost in libraries.items():
        for part, layer in LIBRARIES:
            if part in path:
                layers[layer] += cost
                break
        else:
            interpreter += cost
    for layer, number in bytecodes.items():
        layers[layer] += interpreter * number / sum(bytecodes.values())
    return dict(sorted(layers.items(), key=lambda layer: -layer[1]))


def measured(arena: Arena, total: float, samples: list[Path]) -> dict[str, float]:
    """Measure where the instructions of a save go.

    Args:
        arena: where the server runs.
        total: instructions of one save.
        samples: callgrind's files of them.
    """
    libraries: Counter[str] = Counter()
    for sample in samples:
        libraries += by_library(sample.read_text())
    share = total / sum(libraries.values())
    return divided({path: cost * share for path, cost in libraries.items()}, _bytecodes(arena))


def _bytecodes(arena: Arena) -> dict[str, float]:
    """Count the bytecodes of a save, by layer."""
    out, here = arena.folder / "bytecodes.json", Path(__file__).parent
    traced = (sys.executable, str(here / "traced.py"))
    environ = {BYTECODES: str(out), "PYTHONPATH": str(here.parent)}
    with arena.serving(OURS, start=traced, **environ) as server:
        # One more, as the last is counted until the next begins.
        for _ in instructions.saves(server, arena.callers, WARM + SAVES + 1):
            pass
    counted: dict[str, float] = json.loads(out.read_text())
    return counted


def markdown(layers: Mapping[str, float]) -> str:
    """Write a table."""
    total = sum(layers.values())
    lines = ["| layer | million instructions | share |", "| --- | --- | --- |"]
    for layer, cost in layers.items():
        lines.append(f"| {layer} | {cost / 1e6:.2f} | {100 * cost / total:.0f} % |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="coord-layers-") as name:
        arena = Arena(Path(name), Callers(Path(name), CALLERS), "")
        total = instructions.counted(arena, OURS)
        print(markdown(measured(arena, total, instructions.samples(arena, OURS))))


if __name__ == "__main__":
    main()
