"""gunicorn as one process, in the place of an arbiter and its forked worker.

callgrind counts no forked process. Here the arbiter goes on as its own worker, which is all that a
worker does besides looking after its parent.
"""

import os

from gunicorn.app.wsgiapp import run
from gunicorn.workers.gthread import ThreadWorker

os.fork = lambda: 0
ThreadWorker.is_parent_alive = lambda _self: True
run()
