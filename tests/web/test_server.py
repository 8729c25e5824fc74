"""How a serving process is set up."""

import gc
import sys

from app.web import server


def test_process_that_serves_is_tuned() -> None:
    """The garbage collector skips the objects of the start, and threads yield to the event loop."""
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
