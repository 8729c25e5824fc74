"""How the process that serves is set up."""

import gc
import sys

from app.web import server


def test_process_that_serves_is_tuned() -> None:
    """The garbage collector skips what the start has built; no thread keeps the loop waiting."""
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    try:
        gc.disable()
        server.tune_interpreter()
        assert sys.getswitchinterval() == server.SWITCH_SECONDS < 0.005
        assert gc.get_freeze_count() > 10_000
        assert gc.isenabled()
        assert gc.get_threshold()[0] == server.GARBAGE_THRESHOLDS[0]
    finally:
        gc.enable()
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)
