"""`coord-users` on a machine whose clock is SKEW seconds off.

The service reads its clock by `time.time` alone; a test holds it to that.
"""

import os
import time

result = time.time
skew = float(os.environ["SKEW"])
time.time = lambda: result() + skew
time.time_ns = lambda: int(time.time() * 1e9)

from app.cli import main  # noqa: E402 - what is imported from here on sees that clock

main()
