"""The command `coord-users` without what it does by the clock; the first save does all of that.

Where a save takes seconds, as under valgrind on a busy machine, rounds of the completer and the
look-up of cached credentials, every 5 s each, would count as part of it.
"""

from functools import partialmethod

from app.cli import main
from app.customers.completer import Completer
from app.identity.credentials import Identity

# Longer than any measurement, in seconds.
NEVER = 86_400.0

Completer.__init__ = partialmethod(Completer.__init__, interval=NEVER)  # type: ignore[assignment]
Identity.__init__ = partialmethod(Identity.__init__, cache_seconds=NEVER)  # type: ignore[assignment]
main()
