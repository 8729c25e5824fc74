"""Who calls, and for whom: access keys and users' JWTs. The contract names the checks."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Engine, func, select, update

from app.customers.user import User
from app.errors import InvalidAccessKey, InvalidUserToken, StorageUnavailable
from app.identity.cache import Lookup
from app.identity.issuers import Issuers
from app.identity.jwts import read, verified
from app.storage.errors import storage_errors
from app.storage.tables import access_keys, now

log = structlog.get_logger()

# By it, scanners for leaked secrets and our own log know an access key when they see one.
KEY_PREFIX = "coord_ak_"
# With 256 random bits in base64url after the prefix.
KEY_LENGTH = len(KEY_PREFIX) + 43
# How coarsely the last use of an access key is recorded, in seconds.
USE_RECORDED_EVERY = 3600.0
IS_USE_TO_RECORD = func.coalesce(access_keys.c.last_used_at, 0.0) <= now() - USE_RECORDED_EVERY


@dataclass
class AccessKey:
    """A live access key, as the database has it."""

    id: int
    partner_id: int
    is_use_to_record: bool


class Identity:
    """Checks credentials against what operators registered.

    Args:
        engine: the database.
        cache_seconds: after which a revoked key or a new registration counts, at most.
        clock: seconds since the epoch, for the times in JWTs.
        ticks: a clock that never goes back, in seconds, for what is kept.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        cache_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._issuers = Issuers(engine, cache_seconds, ticks)
        self._keys: Lookup[bytes, AccessKey] = Lookup(self._query, cache_seconds, ticks)
        self._recorder = CapacityLimiter(1)
        self._recordings: set[asyncio.Task[None]] = set()

    async def partner_of(self, access_key: str) -> int:
        """Tell whose access key it is.

        Raises:
            InvalidAccessKey: it is malformed, unknown or revoked.
            StorageUnavailable: the database cannot be asked.
        """
        if not is_well_formed(access_key):
            raise InvalidAccessKey
        found = await self._keys.find(hash_of(access_key))
        if found is None:
            raise InvalidAccessKey
        if found.is_use_to_record:
            found.is_use_to_record = False
            recording = asyncio.create_task(self._record_use(found.id))
            self._recordings.add(recording)
            recording.add_done_callback(self._recordings.discard)
        return found.partner_id

    async def user_of(self, jwt: str) -> User:
        """Tell which user a JWT stands for.

        Raises:
            InvalidUserToken: it is malformed, forged, or not meant for Coord.
            UserTokenExpired: it is genuine and out of date.
            StorageUnavailable: the database, or its issuer's keys, cannot be asked.
        """
        token = read(jwt)
        issuer = await self._issuers.find(token.issuer)
        if issuer is None:
            raise InvalidUserToken("The JWT's `iss` is not registered.")
        key = await issuer.key_of(token)
        claims = verified(token, key, issuer.audience, self._clock())
        return User(
            issuer_id=issuer.id,
            partner_id=issuer.partner_id,
            partner=issuer.partner,
            issuer=token.issuer,
            subject=claims.subject,
            email=claims.email,
            given_name=claims.given_name,
            family_name=claims.family_name,
            is_test=claims.is_test or issuer.is_test,
        )

    def _query(self, hashes: Sequence[bytes]) -> dict[bytes, AccessKey]:
        statement = select(access_keys, IS_USE_TO_RECORD.label("is_use_to_record")).where(
            access_keys.c.key_hash.in_(hashes), access_keys.c.revoked_at.is_(None)
        )
        with storage_errors(), self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        return {
            row.key_hash: AccessKey(row.id, row.partner_id, row.is_use_to_record) for row in rows
        }

    async def _record_use(self, key_id: int) -> None:
        """Record the use of a key, while its request goes on; a failure is no caller's concern."""
        try:
            await to_thread.run_sync(self._write_use, key_id, limiter=self._recorder)
        except StorageUnavailable as error:
            log.warning("use not recorded", access_key=key_id, reason=error.inner)

    def _write_use(self, key_id: int) -> None:
        # Another process may have recorded it meanwhile.
        statement = update(access_keys).where(access_keys.c.id == key_id, IS_USE_TO_RECORD)
        with storage_errors(), self._engine.begin() as connection:
            connection.execute(statement.values(last_used_at=now()))


def is_well_formed(access_key: str) -> bool:
    """Tell whether an access key looks like one of ours."""
    return len(access_key) == KEY_LENGTH and access_key.startswith(KEY_PREFIX)


def hash_of(access_key: str) -> bytes:
    """Give what is stored of an access key, and what it is found by.

    How near a guess comes changes its hash beyond recognition, so the time that a look-up takes
    tells nothing; and 256 random bits need no slow hash.
    """
    return sha256(access_key.encode(errors="surrogatepass")).digest()
