"""The issuers of partners' JWTs, and the keys that they sign with: given, or published by URL.

Nothing here keeps the event loop waiting: the database and the issuers are asked in threads.
"""

import asyncio
import ipaddress
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine, Row, select

from app.errors import ConfigurationError, StorageUnavailable
from app.http_client import HttpClient, NoResponse
from app.identity.cache import Lookup
from app.identity.jwts import Key, Keys, Token, published_keys, secret_key
from app.storage.errors import storage_errors
from app.storage.tables import issuers, partners
from app.strict_json import parse

log = structlog.get_logger()

# How long published keys are used, and how early the next ones are fetched, in seconds.
LIFE, FETCH_AFTER = 300.0, 240.0
# How often an issuer is asked for a key that it has not shown yet, in seconds.
UNKNOWN_KEY_PAUSE = 60.0
# How soon an issuer that could not be reached is asked again, in seconds.
FAILURE_PAUSE = 10.0
# The most that one fetch may take, in seconds, and bring, in bytes.
FETCH_TIMEOUT, LARGEST_JWKS = 3.0, 64 * 1024
# The most threads that issuers which hang can hold; the database has its own.
FETCHES_AT_ONCE = 8


class PublishedKeys:
    """An issuer's JWK Set at its URL, fetched when need be and kept for `LIFE`.

    Args:
        issuer_id: whose they are, for the log.
        url: where they are.
        threads: what the fetches of all issuers share.
        ticks: a clock that never goes back, in seconds.
    """

    def __init__(
        self, issuer_id: int, url: str, threads: CapacityLimiter, ticks: Callable[[], float]
    ) -> None:
        self._issuer_id = issuer_id
        self._url = url
        self._threads = threads
        self._ticks = ticks
        self._keys: Keys | None = None
        self._fetched_at = self._failed_at = self._asked_at = float("-inf")
        self._started_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Find the key that a JWT's header means.

        Raises:
            StorageUnavailable: none was ever fetched, and none can be now.
        """
        arrived_at = self._ticks()
        age = arrived_at - self._fetched_at
        if age >= FETCH_AFTER and arrived_at >= self._failed_at + FAILURE_PAUSE:
            self._begin()
        if age >= LIFE:
            await self._end()
        if self._keys is None:
            raise StorageUnavailable(
                "The keys of the JWT's issuer cannot be fetched. Send the same request again.",
                retry_after=int(FAILURE_PAUSE),
            )
        key = self._keys.find(kid, algorithm)
        # Twice, as a fetch that is under way may have begun before the key was published.
        for _ in range(2):
            if key is None:
                is_time = self._started_at < arrived_at >= self._asked_at + UNKNOWN_KEY_PAUSE
                if is_time and self._begin():
                    self._asked_at = self._started_at
                await self._end()
                key = self._keys.find(kid, algorithm)
        return key

    def _begin(self) -> bool:
        """Begin to fetch, unless somebody has."""
        if self._task is not None:
            return False
        self._started_at = self._ticks()
        self._task = asyncio.create_task(self._take())
        return True

    async def _end(self) -> None:
        """Wait for the fetch under way, if any; not for one that hangs, as name servers can."""
        patience = self._started_at + FETCH_TIMEOUT + 1 - self._ticks()
        if self._task and patience > 0:
            await asyncio.wait([self._task], timeout=patience)

    async def _take(self) -> None:
        try:
            keys = await to_thread.run_sync(fetch, self._url, limiter=self._threads)
        except Exception as error:
            self._failed_at = self._ticks()
            reason = f"{type(error).__name__}: {error}"
            log.warning("issuer's keys not refreshed", issuer=self._issuer_id, reason=reason)
        else:
            self._keys = keys
            self._fetched_at = self._started_at
            log.info("issuer's keys refreshed", issuer=self._issuer_id, keys=len(keys))
        finally:
            self._task = None


@dataclass(frozen=True)
class Issuer:
    """One issuer of a partner's JWTs.

    Attributes:
        partner: the name of the partner that registered it.
        audience: what must be among its JWTs' `aud`.
        is_test: whether all its users are test users.
        keys: what it signs with.
    """

    id: int
    partner_id: int
    partner: str
    audience: str
    is_test: bool
    keys: Keys | PublishedKeys

    async def key_of(self, token: Token) -> Key | None:
        """Find the key that the header of a JWT means.

        Raises:
            StorageUnavailable: the keys cannot be had at all.
        """
        if isinstance(self.keys, Keys):
            return self.keys.find(token.kid, token.algorithm)
        return await self.keys.find(token.kid, token.algorithm)


class Issuers:
    """The registered issuers, by their names.

    Args:
        engine: the database.
        seconds: after which a new or changed registration counts, at most.
        ticks: a clock that never goes back, in seconds.
    """

    def __init__(
        self, engine: Engine, seconds: float, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._ticks = ticks
        self._threads = CapacityLimiter(FETCHES_AT_ONCE)
        self._keys: dict[int, tuple[tuple[Any, ...], Keys | PublishedKeys]] = {}
        self._lookup: Lookup[str, Issuer] = Lookup(self._query, seconds, ticks)

    async def find(self, name: str) -> Issuer | None:
        """Find the issuer that a JWT names in `iss`.

        Raises:
            StorageUnavailable: the database cannot be asked.
        """
        return await self._lookup.find(name)

    def _query(self, names: Sequence[str]) -> dict[str, Issuer]:
        with storage_errors(), self._engine.connect() as connection:
            query = select(issuers, partners.c.name.label("partner")).join_from(issuers, partners)
            rows = connection.execute(query.where(issuers.c.issuer.in_(names))).all()
        return {
            row.issuer: Issuer(
                row.id,
                row.partner_id,
                row.partner,
                row.audience,
                row.is_test,
                self._keys_of(row),
            )
            for row in rows
        }

    def _keys_of(self, row: Row[Any]) -> Keys | PublishedKeys:
        """Give the keys as they are known already, unless the registration has changed."""
        source = (row.jwks_url, row.jwks, row.shared_secret)
        known = self._keys.get(row.id)
        if known is None or known[0] != source:
            known = self._keys[row.id] = (source, self._new_keys(row))
        return known[1]

    def _new_keys(self, row: Row[Any]) -> Keys | PublishedKeys:
        if row.jwks_url is not None:
            return PublishedKeys(row.id, row.jwks_url, self._threads, self._ticks)
        try:
            return given_keys(row.jwks, row.shared_secret)
        except ConfigurationError as error:
            log.error("issuer's keys are bad", issuer=row.id, reason=str(error))
            return Keys()


def given_keys(jwks: object, shared_secret: bytes | None) -> Keys:
    """Check and take the keys that an operator gave: a JWK Set, unless there is a secret.

    Raises:
        ConfigurationError: one line says what is wrong with them.
    """
    keys = published_keys(jwks) if shared_secret is None else secret_key(shared_secret)
    if not keys:
        raise ConfigurationError("The JWK Set holds no key for RS256, ES256 or EdDSA")
    return keys


def fetch(url: str) -> Keys:
    """Fetch and check a JWK Set, in `FETCH_TIMEOUT` at most: not for the event loop.

    Raises:
        ConfigurationError: one line says why it is not to be had or not to be trusted.
    """
    check_url(url)
    connections = HttpClient(0)
    try:
        with connections.within(FETCH_TIMEOUT):
            document, status, _ = connections.request("GET", url, {"User-Agent": "coord-users"})
    except NoResponse as failure:
        raise ConfigurationError(f"The JWK Set is not to be had: {failure}") from None
    if status != 200:
        raise ConfigurationError(f"The JWK Set's URL answers with {status}")
    if len(document) > LARGEST_JWKS:
        raise ConfigurationError("The JWK Set is larger than 64 KiB")
    try:
        jwks = parse(document)
    except ValueError:
        raise ConfigurationError("The JWK Set is no JSON") from None
    return published_keys(jwks)


def check_url(url: str) -> None:
    """Check that keys may be fetched from there: by https, or from this machine.

    Raises:
        ConfigurationError: one line says why not.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,2000}", url):
        raise ConfigurationError("The JWK Set's URL is no URL")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("The JWK Set's URL is no URL") from None
    if not host or port == 0 or parts.username is not None or "#" in url:
        raise ConfigurationError("The JWK Set's URL is more or less than host and path")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ConfigurationError("The JWK Set's URL must be https, save on this machine")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
