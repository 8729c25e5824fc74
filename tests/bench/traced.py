"""`still.py` with its bytecodes counted by layer; see `layers.py`.

Bytecodes of Python's own library count for the layer that calls it. Counting begins after WARM
saves; the counts of SAVES saves are written into the file that the environment names.
"""

import atexit
import json
import os
import runpy
import sys
import sysconfig
import threading
from collections import Counter
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from bench.layers import BYTECODES, OTHERS, SAVES, WARM, layer_of

LIBRARY = sysconfig.get_path("stdlib")
PACKAGES = sysconfig.get_path("purelib")
# Called once for each save.
HANDLER = "post_stripe_info"

counts: Counter[str] = Counter()
saves = 0


def trace(frame: FrameType, _event: str, _argument: object) -> Any:
    """Count the bytecodes of each call, once the server is warm."""
    global saves
    if frame.f_code.co_name == HANDLER:
        saves += 1
    if not WARM < saves <= WARM + SAVES:
        return None
    layer = layer_of_frame(frame)
    frame.f_trace_opcodes, frame.f_trace_lines = True, False

    def count(_frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            counts[layer] += 1
        return count

    return count


def layer_of_frame(frame: FrameType) -> str:
    """Return the layer of the innermost frame that has one."""
    at: FrameType | None = frame
    while at is not None:
        if layer := layer_of_code(at.f_code):
            return layer
        at = at.f_back
    return OTHERS


@cache
def layer_of_code(code: CodeType) -> str:
    """Return the layer of a file; empty for Python's own library."""
    name = code.co_filename
    if name.startswith(LIBRARY) and "site-packages" not in name:
        return ""
    return layer_of(name.rpartition("site-packages/")[2], code.co_name)


def write() -> None:
    """Write the counts of one save."""
    sys.settrace(None)
    Path(os.environ[BYTECODES]).write_text(json.dumps({k: v / SAVES for k, v in counts.items()}))


if __name__ == "__main__":
    atexit.register(write)
    threading.settrace(trace)
    sys.settrace(trace)
    runpy.run_path(str(Path(__file__).with_name("still.py")), run_name="__main__")
