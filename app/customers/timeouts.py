"""How long the rule waits, for what, and why so long. All times are in seconds."""

from dataclasses import dataclass

# Stripe may forget an idempotency key after 24 hours, and would then execute the call once more
# (https://docs.stripe.com/api/idempotent_requests). An hour less covers clocks that differ and a
# call that lingers.
KEY_LIFETIME = 23 * 3600.0
# How long a call may still be on its way to Stripe after this service has stopped waiting for it.
# Proxies and TCP give up a stalled connection within one to two minutes.
CALL_LIFETIME = 120.0
# How far Stripe's clock and the database's may differ, where a customer is looked for by the time
# of its creation. Synchronised clocks differ by milliseconds; two minutes cost one more page.
CLOCK_SKEW = 120.0
# Pauses before the same call is sent again within one request. A reset connection or a restarting
# server answers again within a second; what takes longer is left to the caller's retry.
RETRY_PAUSES = (0.3, 1.0)
# Reserved at the end of a request, to store the outcome and to answer; a tenth of a short request.
LAST_SECONDS = 0.5
# The completer, for which no caller waits, may take so much longer to find an old attempt's
# customer by its time: 100 customers are read in about 0.3 s, so in five minutes 100,000.
UNATTENDED = 300.0
# Pauses between two looks at a row that another request has leased: at first, and at most.
FIRST_POLL, LAST_POLL = 0.02, 0.25
# Pauses before an outcome is stored again, where the database was out of reach.
STORE_PAUSE = 0.3
# Added to the longest call, so that a lease outlasts it: the statements before and after a call
# wait for the database for at most 5 s.
LEASE_MARGIN = 5.0


@dataclass(frozen=True)
class Timeouts:
    """What the operator set.

    Attributes:
        call: for one call to Stripe (STRIPE_TIMEOUT).
        request: for one request, waiting and retries included (REQUEST_TIMEOUT).
    """

    call: float
    request: float

    @property
    def lease(self) -> float:
        """How long a process may work on an attempt before another takes it over.

        With the default STRIPE_TIMEOUT of 20 s it is 25 s. Renewed or extended before each further
        call, also of a look-up, so it covers one call and the statements around it.
        """
        return self.call + LEASE_MARGIN
