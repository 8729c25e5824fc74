"""How the process that serves is set up."""

import gc
import sys
import time
from pathlib import Path

from support.server_process import serving
from support.serving import Partner

from app.config import Settings
from app.web import server

# Whichever worker finds the order dies when it is asked whether it is alive.
MORTAL = """
import os, pathlib, signal
from uvicorn.supervisors.multiprocess import Process
from app.cli import main

order, answer = pathlib.Path({order!r}), Process.pong

def pong(self):
    if self.child_conn.poll(None) and order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    answer(self)

Process.pong = pong
if __name__ == "__main__":
    main()
"""


def test_process_that_serves_is_settled() -> None:
    """The collector passes over what the start built; no thread keeps the loop waiting long."""
    before, turn = gc.get_threshold(), sys.getswitchinterval()
    try:
        server.tune_interpreter()
        assert sys.getswitchinterval() < turn
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
        sys.setswitchinterval(turn)


def test_worker_that_dies_when_it_is_asked_has_a_successor_at_once(
    settings: Settings, partner: Partner, tmp_path: Path
) -> None:
    """Rather than when a worker that is mute would have one."""
    program, order = tmp_path / "mortal.py", tmp_path / "order"
    program.write_text(MORTAL.format(order=str(order)))
    words = (sys.executable, program)
    with serving(settings, tmp_path / "log", "--workers", "2", program=words) as running:
        before, began = running.workers(), time.monotonic()
        order.touch()
        while not (dead := before - running.workers()):
            assert time.monotonic() < began + 30
        running.wait_until_replaced(dead.pop())
        assert time.monotonic() < began + 30
