"""How the process that serves is set up."""

import gc

from app import server


def test_what_was_built_at_the_start_is_not_looked_through_again() -> None:
    """The collector has it set apart."""
    before = gc.get_threshold()
    try:
        server.settle_memory()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
