"""Registrations: which issuers sign JWTs for which partner, and their keys, read when needed.

Nothing here blocks the event loop: the database and the issuers are reached in threads.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine, Row, select

from app.errors import InvalidUserToken, IssuerUnavailable, PartnerMismatch
from app.identity.cache import BatchingCache, Ticks
from app.identity.jwks import FETCH_TIMEOUT, KeySource
from app.identity.jwts import LEEWAY, PUBLIC_ALGORITHMS, ParsedJwt
from app.identity.keys import PRIVATE, Keys
from app.storage.errors import storage_errors
from app.storage.tables import issuers, partners
from app.telemetry.metrics import Metrics

log = structlog.get_logger()

# How long published keys are used, and how old they are when the next ones are fetched, in seconds.
# A key that was withdrawn is trusted for 5 minutes at most; in the last of them, requests go on
# while keys are fetched.
LIFE, FETCH_AFTER = 300.0, 240.0
# How soon an issuer that could not be reached is tried again, in seconds.
FAILURE_PAUSE = 10.0
# Fetches because of JWTs that no key has signed, and that may be forged: so many in a burst, then
# one in so many seconds. After these at the latest a key that was published just now is known.
REFETCHES, REFETCH_PAUSE = 5, 10.0
# How much longer than its fetch a thread may take before it counts as hanging, in seconds.
MARGIN = 1.0


class IssuerKeys:
    """The keys of one registration: read once, or fetched anew while they are in use.

    One fetch runs at a time, in a thread of this issuer's own, so an issuer that does not answer
    delays no other. While it is away, its last keys are used.

    Args:
        names: The partner and the issuer, for the log and the metrics.
    """

    def __init__(
        self, source: KeySource, names: dict[str, str], metrics: Metrics, ticks: Ticks
    ) -> None:
        self.source = source
        self._names = names
        self._metrics = metrics
        self._ticks = ticks
        self._thread = CapacityLimiter(1)
        self._keys: Keys | None = None
        self._fetch: asyncio.Task[None] | None = None
        # When the last fetch began, when the one began that brought the keys, when one failed.
        self._began_at = self._fetched_at = self._failed_at = -math.inf
        # The bucket of refetches is full again at this time.
        self._refilled_at = -math.inf

    async def check_signature(self, jwt: ParsedJwt, now: float) -> None:
        """Check that one of the keys has signed a JWT; `now` in seconds since the epoch.

        If none has, the issuer may have replaced its keys meanwhile. So before the JWT is refused,
        the keys are fetched once more, unless they were a moment ago and the JWT is older than
        that: then it is of a key that was withdrawn, and a crowd of such JWTs is refused at once.

        Raises:
            InvalidUserToken: None of the issuer's current keys has signed it.
            IssuerUnavailable: The current keys cannot be fetched now.
        """
        arrived_at = self._ticks()
        keys = await self._known_keys(arrived_at)
        try:
            keys.check_signature(jwt)
        except InvalidUserToken:
            age = arrived_at - self._fetched_at
            is_old = age < REFETCH_PAUSE and age + LEEWAY <= now - jwt.issued_at
            if is_old or self.source.jwks_url is None or jwt.algorithm not in PUBLIC_ALGORITHMS:
                raise
        else:
            return
        keys = await self._keys_since(arrived_at)
        keys.check_signature(jwt)

    async def _known_keys(self, now: float) -> Keys:
        age = now - self._fetched_at if self.source.jwks_url or not self._keys else 0.0
        if age >= FETCH_AFTER and now >= self._failed_at + FAILURE_PAUSE:
            self._begin_fetch()
        # Only the first requests wait for an issuer that is away; then its last keys are used.
        if self._keys is None or (age >= LIFE and self._failed_at < self._fetched_at):
            await self._end_fetch()
        if self._keys is None:
            raise IssuerUnavailable(retry_after=math.ceil(FAILURE_PAUSE))
        return self._keys

    async def _keys_since(self, time: float) -> Keys:
        """Return the keys as they were published at that time or later."""
        # The fetch under way may have begun earlier, so a second one may be needed.
        for _ in range(2):
            if self._fetched_at < time:
                if self._fetch is None:
                    self._take_refetch()
                    self._begin_fetch()
                await self._end_fetch()
        if self._keys is None or self._fetched_at < time:
            raise IssuerUnavailable(retry_after=math.ceil(FAILURE_PAUSE))
        return self._keys

    def _take_refetch(self) -> None:
        """Take a refetch from the bucket; it fills with time.

        Raises:
            IssuerUnavailable: The bucket is empty, or a fetch has failed a moment ago.
        """
        now = self._ticks()
        refilled_at = max(self._refilled_at, now) + REFETCH_PAUSE
        wait = max(refilled_at - REFETCHES * REFETCH_PAUSE, self._failed_at + FAILURE_PAUSE) - now
        if wait > 0:
            raise IssuerUnavailable(retry_after=math.ceil(wait))
        self._refilled_at = refilled_at

    def _begin_fetch(self) -> None:
        if self._fetch is None:
            self._began_at = self._ticks()
            self._fetch = asyncio.create_task(self._run_fetch())

    async def _end_fetch(self) -> None:
        """Wait for the fetch under way; not for a thread that hangs, as a name server can cause."""
        left = self._began_at + FETCH_TIMEOUT + MARGIN - self._ticks()
        if self._fetch and left > 0:
            await asyncio.wait([self._fetch], timeout=left)

    async def _run_fetch(self) -> None:
        read = self.source.read
        try:
            keys = await to_thread.run_sync(read, self._names["issuer"], limiter=self._thread)
        except Exception as error:
            self._failed_at = self._ticks()
            log.warning("issuer's keys not read", reason=str(error), **self._names)
            self._metrics.issuer_fetches.labels(**self._names, outcome="failure").inc()
        else:
            self._report(keys)
            self._keys, self._fetched_at = keys, self._began_at
        finally:
            self._fetch = None

    def _report(self, keys: Keys) -> None:
        """Log and count keys that were read; one that is passed over is logged once."""
        log.info("issuer's keys read", keys=len(keys.usable), **self._names)
        self._metrics.issuer_fetches.labels(**self._names, outcome="success").inc()
        private = sum(key.reason == PRIVATE for key in keys.passed_over)
        gauge = self._metrics.keys_passed_over
        gauge.labels(**self._names, kind="private").set(private)
        gauge.labels(**self._names, kind="other").set(len(keys.passed_over) - private)
        for key in keys.passed_over:
            if self._keys is None or key not in self._keys.passed_over:
                write = log.error if key.reason == PRIVATE else log.warning
                write("key passed over", kid=key.kid, reason=key.reason, **self._names)


class Registration(NamedTuple):
    """One issuer of a partner's JWTs, of which `aud` must name one of the audiences."""

    id: int
    partner_id: int
    partner: str
    audiences: frozenset[str]
    is_test: bool
    keys: IssuerKeys


def audiences_of(row: Row[Any]) -> list[str]:
    """Return the audiences of a row of `issuers`."""
    return [row.audience, *(row.more_audiences or ())]


class Registrations:
    """All registrations of partners that are not disabled, by the names of the issuers.

    Args:
        seconds: After which a change by an operator counts, at most.
    """

    def __init__(self, engine: Engine, seconds: float, metrics: Metrics, ticks: Ticks) -> None:
        self._engine = engine
        self._metrics = metrics
        self._ticks = ticks
        self._keys: dict[int, IssuerKeys] = {}
        self._cache = BatchingCache[str, list[Registration]](self._query, seconds, ticks)

    async def find(self, jwt: ParsedJwt, partner_id: int | None) -> Registration:
        """Find the registration that a JWT's `iss` and `aud` name together.

        As nothing is verified yet, an access key must not cause fetches of other partners' keys.

        Raises:
            InvalidUserToken: They name none, or several.
            PartnerMismatch: It is not the calling partner's.
            StorageUnavailable: The database cannot be reached.
        """
        registrations = await self._cache.find(jwt.issuer)
        if not registrations:
            raise InvalidUserToken("The JWT's `iss` is not registered.")
        named = [one for one in registrations if not one.audiences.isdisjoint(jwt.audiences)]
        if not named:
            raise InvalidUserToken("The JWT's `aud` does not name an audience of its issuer.")
        if len(named) > 1:
            raise InvalidUserToken("The JWT's `aud` names audiences of several partners.")
        if named[0].partner_id != partner_id:
            raise PartnerMismatch
        return named[0]

    def _query(self, names: Sequence[str]) -> dict[str, list[Registration]]:
        query = (
            select(issuers, partners.c.name.label("partner"))
            .join_from(issuers, partners)
            .where(issuers.c.issuer.in_(names), partners.c.disabled_at.is_(None))
        )
        with storage_errors(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        found: dict[str, list[Registration]] = {}
        for row in rows:
            whose = (row.id, row.partner_id, row.partner, frozenset(audiences_of(row)))
            registration = Registration(*whose, row.is_test, self._keys_of(row))
            found.setdefault(row.issuer, []).append(registration)
        return found

    def _keys_of(self, row: Row[Any]) -> IssuerKeys:
        """Return the keys that are known already, unless where they come from has changed."""
        source = KeySource(row.jwks_url, row.jwks, row.shared_secret)
        known = self._keys.get(row.id)
        if known is None or known.source != source:
            names = {"partner": row.partner, "issuer": row.issuer}
            known = self._keys[row.id] = IssuerKeys(source, names, self._metrics, self._ticks)
        return known
