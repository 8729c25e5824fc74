"""How the process that serves is set up."""

import gc
import sys

from app import server


def test_process_that_serves_is_settled() -> None:
    """The collector passes over what the start built; no thread keeps the loop waiting long."""
    before, turn = gc.get_threshold(), sys.getswitchinterval()
    try:
        server.settle()
        assert sys.getswitchinterval() < turn
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
        sys.setswitchinterval(turn)
